"""What is kept and announced: the table, its items, and the listing."""
