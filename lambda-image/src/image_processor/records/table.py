"""The table's schema: its key, its indexes, and the statuses of a record. modules/storage/table.tf makes this table."""

#: The hash key of the table. Items that are no records have keys that no image id can be: see `content_key`.
KEY = "image_id"

#: The index of all images, newest first: hash key `listing`, which removed images lack, range key `listed_at`.
NEWEST, LISTING_KEY = "newest", "listing"
#: The only value of `listing`.
LISTING = "images"

#: The index of images by status: hash key `status`, range key `listed_at`.
BY_STATUS, STATUS_KEY = "by-status", "status"

#: The range key of both indexes: the time of the image's last event, then its id, as "<time>#<image id>".
RANGE_KEY = "listed_at"

STATUSES = ("PROCESSING", "READY", "REJECTED", "FAILED", "DELETED")

#: Statuses after which an event has had its effect. FAILED is not among them: a redriven message is worth a try.
SETTLED = frozenset({"READY", "REJECTED", "DELETED"})


def content_key(sha256: str, verdict: str) -> str:
    """Return the key of the item that remembers which image has a content. Image ids are hex digits only.

    `verdict` is the verdict version under which it was made: with any other, the result may differ.
    """
    return f"content#{sha256}#{verdict}"
