"""The announcer: takes batches of the table's stream and tells the bus."""

import os
from typing import Any

from image_processor import aws
from image_processor.records.announcements import announce as tell
from image_processor.telemetry import Context, invocation, logger


def announce(event: dict[str, Any], context: Context) -> None:
    """Tells of a batch of writes; if that fails, Lambda gives it the same batch again.

    Shape: https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html
    """
    with invocation(context):
        count = tell(aws.events(), os.environ["EVENT_BUS"], event["Records"])
        logger.info("announced", extra={"events": count})


if "EVENT_BUS" in os.environ:
    aws.events()
