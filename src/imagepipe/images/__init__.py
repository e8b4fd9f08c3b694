"""The user's side of images: upload, list, download, demo."""
