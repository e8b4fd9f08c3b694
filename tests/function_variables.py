"""The smallest environment with which the processor starts."""

PROCESSOR = {
    "TABLE_NAME": "images",
    "PROCESSED_BUCKET": "processed",
    "UPLOAD_BUCKET": "uploads",
    "QUEUE_URLS": "{}",
    "VISIBILITY_TIMEOUT_SECONDS": "360",
    "MAX_RECEIVE_COUNT": "5",
}
