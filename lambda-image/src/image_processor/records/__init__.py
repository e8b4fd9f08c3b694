"""The records: the table, its items, the listing for the API, and the events for others."""
