"""The protocol of an event: batches of messages, and what becomes of each."""
