"""The processor: handles batches of the upload queue and of the backfill queue."""

import logging
import math
import os
from collections.abc import Callable
from functools import cache
from typing import Any

from image_processor import aws, events
from image_processor.decoder.process import Level
from image_processor.decoder.sandbox import Sandbox
from image_processor.intake import batch
from image_processor.intake.batch import Message, Queues
from image_processor.intake.processor import Effect, GivenUp, Processor, Result, Suspect
from image_processor.recipe import PATIENCE
from image_processor.records.store import Store
from image_processor.settings import ProcessorSettings
from image_processor.telemetry import Context, Metrics, fields, invocation, logger

metrics = Metrics()

_METRICS = {
    Effect.PROCESSED: "ImagesProcessed",
    Effect.LINKED: "ImagesProcessed",
    Effect.REJECTED: "ImagesRejected",
    Effect.DELETED: "ImagesDeleted",
}

#: Memory in MB at which a function gets the time of one processor.
#: https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
MB_PER_VCPU = 1769


def vcpus(memory_mb: int) -> int:
    """Return the number of processors whose time a function of that size gets. Lambda shows more than it gives.

    Six at most: https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
    """
    return min(6, math.ceil(memory_mb / MB_PER_VCPU))


@cache
def _settings() -> ProcessorSettings:
    return ProcessorSettings.of(os.environ)


@cache
def _sandbox() -> Sandbox:
    memory_mb = int(os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"])
    return Sandbox(_settings().limits.within(memory_mb), vcpus(memory_mb))


@cache
def _processor() -> Processor:
    settings = _settings()
    # The sandbox comes first: its process starts while this one imports botocore and makes its clients.
    sandbox = _sandbox()
    return Processor(
        Store(aws.s3(), aws.dynamodb(), settings.table, settings.processed_bucket),
        settings.recipe,
        sandbox,
        settings.image_digest,
        settings.upload_bucket,
    )


@cache
def _queues() -> Queues:
    settings = _settings()
    return Queues(aws.sqs, settings.queue_urls, settings.visibility_timeout_seconds, settings.most_deliveries)


def process(event: dict[str, Any], context: Context) -> dict[str, Any]:
    """Handle a batch of a queue; report the messages to be delivered again.

    Shape of both: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    """

    def seconds_left() -> float:
        return context.get_remaining_time_in_millis() / 1000

    with invocation(context):
        messages = [Message.of(record) for record in event["Records"]]
        spare = seconds_left() * batch.SPARE

        def handle(message: Message, risk: bool) -> None:
            _message(message, risk, lambda: seconds_left() - spare)

        back = batch.work(messages, seconds_left, handle, _queues(), PATIENCE * _settings().limits.max_seconds)
        _report_confinement()
        metrics.flush()
    return {"batchItemFailures": [{"itemIdentifier": message.id} for message in back]}


def _report_confinement() -> None:
    """Count a batch whose decoder is not confined; log once how it is."""
    held = _sandbox().confinement
    if held is None:
        return  # no image came so far
    level = Level.of(held)
    _log_confinement(level, ", ".join(held))
    if level is Level.LIMITS:
        metrics.add("DecoderUnconfined", 1)


@cache
def _log_confinement(level: Level, held: str) -> None:
    important = logging.WARNING if level is Level.LIMITS else logging.INFO
    logger.log(important, "confinement of the decoder", extra={"level_of_confinement": level, "held": held})


def _message(message: Message, risk: bool, seconds: Callable[[], float]) -> None:
    """Handle every event of a message, in so many seconds. S3 puts one into a message, but does not promise that."""
    errors: list[Exception] = []
    try:
        for event in events.parse(message.body):
            with fields(image_id=event.image_id, key=event.key, revision=event.revision):
                try:
                    _event(event, message, risk, seconds())
                except Exception as error:  # the events after it are still handled
                    errors.append(error)
        if errors:
            raise most_hopeful(errors)
    except events.NotAnEvent as error:
        logger.error(
            "the message is kept for the dead-letter queue", extra={"reason": str(error), "body": message.body[:500]}
        )
        raise


def most_hopeful(errors: list[Exception]) -> Exception:
    """Return the error of a message's events that decides when the message comes again.

    A suspect has not been tried yet, and another failure may end well; a given-up image or a non-event never does.
    """

    def rank(error: Exception) -> int:
        if isinstance(error, Suspect):
            return 0
        return 2 if isinstance(error, (events.NotAnEvent, GivenUp)) else 1

    return min(errors, key=rank)


def _event(event: events.ObjectEvent, message: Message, risk: bool, seconds: float) -> None:
    last = _queues().is_last(message)
    if event.created and message.delivery == 1 and not risk:
        metrics.add("ImagesReceived", 1)
    try:
        result = _processor().handle(event, message.delivery, risk=risk, last=last, seconds=seconds)
    except (events.NotAnEvent, Suspect):
        raise
    except GivenUp as error:
        logger.error("the image is given up", extra={"reason": str(error)})
        if last:
            metrics.add("ImagesFailed", 1)
        raise
    except Exception as error:
        logger.exception("the event could not be handled", extra={"last_try": last})
        if last:
            _processor().give_up(event, message.delivery, f"{type(error).__name__}: {error}")
            metrics.add("ImagesFailed", 1)
        raise
    logger.info(
        result.effect,
        extra={"reason": result.reason, "queue_ms": result.queue_ms, "processing_ms": result.processing_ms},
    )
    _count(result)


def _count(result: Result) -> None:
    if result.effect in _METRICS:
        metrics.add(_METRICS[result.effect], 1)
    if result.effect in {Effect.PROCESSED, Effect.LINKED, Effect.REJECTED}:
        metrics.add("QueueTime", result.queue_ms, "Milliseconds")
        metrics.add("ProcessingTime", result.processing_ms, "Milliseconds")
        metrics.add("BytesIn", result.bytes_in, "Bytes")
        metrics.add("BytesOut", result.bytes_out, "Bytes")


# Lambda gives a function full CPU while it initialises, so the clients are made now and not with the first message.
# Without a configuration, as in a test, none are made.
if "TABLE_NAME" in os.environ:
    _processor()
