"""The announcer: handles batches of the table's stream and sends events to the bus."""

import os
from typing import Any

from image_processor import aws
from image_processor.records import announcements
from image_processor.settings import AnnouncerSettings
from image_processor.telemetry import Context, invocation, logger


def announce(event: dict[str, Any], context: Context) -> None:
    """Announce a batch of writes. If it fails, Lambda delivers the same batch again.

    Shape: https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html
    """
    with invocation(context):
        count = announcements.announce(aws.events(), AnnouncerSettings.of(os.environ).event_bus, event["Records"])
        logger.info("announced", extra={"events": count})


if "EVENT_BUS" in os.environ:
    aws.events()
