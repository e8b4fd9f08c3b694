"""What runs on Lambda. Imports point one way: handlers → processor, catalogue → store, engine → gate → recipe."""
