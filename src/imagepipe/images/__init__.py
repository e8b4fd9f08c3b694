"""Images seen from the outside: upload, list, download, demo."""
