"""Lambda's entry points: `process` for the queue, `api` for the HTTP API. One image, two commands."""

import json
import os
import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.config import Config

from image_processor import events
from image_processor.catalogue import Catalogue, Problem
from image_processor.processor import Outcome, Processor, Result
from image_processor.recipe import Limits, Recipe
from image_processor.store import Store

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_s3 import S3Client

# A duplicate or a request of the API counts nothing, and that is in order.
warnings.filterwarnings("ignore", "No application metrics to publish")

logger = Logger()
metrics = Metrics()
batch = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
http = APIGatewayHttpResolver()

_METRICS = {
    Outcome.PROCESSED: "ImagesProcessed",
    Outcome.REJECTED: "ImagesRejected",
    Outcome.DELETED: "ImagesDeleted",
}


@cache
def _s3() -> "S3Client":
    # Presigned addresses need today's signature version and the region's own name, or they are redirected.
    return boto3.client("s3", config=Config(signature_version="s3v4", s3={"us_east_1_regional_endpoint": "regional"}))


@cache
def _table() -> "Table":
    return boto3.resource("dynamodb").Table(os.environ["TABLE_NAME"])


@cache
def _processor() -> Processor:
    return Processor(
        Store(_s3(), _table(), os.environ["PROCESSED_BUCKET"]),
        Recipe.parse(os.environ.get("RECIPE")),
        Limits.parse(os.environ.get("LIMITS")),
        os.environ.get("IMAGE_DIGEST", ""),
    )


@cache
def _catalogue() -> Catalogue:
    environment = os.environ
    ttl = int(environment.get("URL_TTL_SECONDS", "900"))
    return Catalogue(_table(), _s3(), environment["UPLOAD_BUCKET"], environment["PROCESSED_BUCKET"], ttl)


# --- the queue --------------------------------------------------------------------------------------------------------


@logger.inject_lambda_context
@metrics.log_metrics
def process(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes a batch of the upload queue and reports the messages that are to be tried again."""
    return dict(process_partial_response(event, _message, batch, context))


def _message(record: SQSRecord) -> None:  # Powertools calls it with that name
    try:
        found = events.parse(record.body)
    except events.NotAnEvent as error:
        logger.error("the message is kept for the dead-letter queue", reason=str(error), body=record.body[:500])
        raise
    for event in found:
        with logger.append_context_keys(image_id=event.image_id, key=event.key, revision=event.revision):
            _event(event, last_try=_is_last_try(record))


def _is_last_try(record: SQSRecord) -> bool:
    allowed = int(os.environ.get("MAX_RECEIVE_COUNT", "0"))
    return bool(allowed) and int(record.attributes.approximate_receive_count) >= allowed


def _event(event: events.ObjectEvent, *, last_try: bool) -> None:
    if event.created:
        metrics.add_metric("ImagesReceived", MetricUnit.Count, 1)
    try:
        result = _processor().handle(event)
    except Exception as error:
        logger.exception("the event could not be handled", last_try=last_try)
        if last_try:
            _processor().give_up(event, f"{type(error).__name__}: {error}")
            metrics.add_metric("ImagesFailed", MetricUnit.Count, 1)
        raise
    logger.info(result.outcome, reason=result.reason, queue_ms=result.queue_ms, processing_ms=result.processing_ms)
    _count(result)


def _count(result: Result) -> None:
    if result.outcome in _METRICS:
        metrics.add_metric(_METRICS[result.outcome], MetricUnit.Count, 1)
    if result.outcome in {Outcome.PROCESSED, Outcome.REJECTED}:
        metrics.add_metric("QueueTime", MetricUnit.Milliseconds, result.queue_ms)
        metrics.add_metric("ProcessingTime", MetricUnit.Milliseconds, result.processing_ms)
        metrics.add_metric("BytesIn", MetricUnit.Bytes, result.bytes_in)
        metrics.add_metric("BytesOut", MetricUnit.Bytes, result.bytes_out)


# --- the HTTP API -----------------------------------------------------------------------------------------------------


@logger.inject_lambda_context
def api(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answers one request of the HTTP API (payload format 2.0)."""
    return http.resolve(event, context)


@http.get("/images")
def _list() -> dict[str, Any]:
    return _catalogue().page(http.current_event.query_string_parameters or {})


@http.get("/images/<image_id>")
def _show(image_id: str) -> dict[str, Any]:
    _refuse_parameters()
    return _catalogue().image(image_id)


@http.get("/images/<image_id>/variants/<name>")
def _variant(image_id: str, name: str) -> Response[str]:
    _refuse_parameters()
    headers = {"Location": _catalogue().variant_url(image_id, name), "Cache-Control": "no-store"}
    return Response(302, body="", headers=headers)


@http.delete("/images/<image_id>")
def _remove(image_id: str) -> tuple[dict[str, str], int]:
    """Accepted, not done: the removal takes the same road as one made in the bucket."""
    _refuse_parameters()
    _catalogue().remove(image_id)
    return {"image_id": image_id, "detail": "the image and its variants are being removed"}, 202


@http.get("/health")
def _health() -> dict[str, str]:
    _refuse_parameters()
    return {"status": "ok"}


def _refuse_parameters() -> None:
    if unknown := sorted(http.current_event.query_string_parameters or {}):
        raise Problem(400, "Unknown parameter", f"{', '.join(unknown)}: this address takes none")


def _refusal(problem: Problem) -> Response[str]:
    body = {"type": "about:blank", "title": problem.title, "status": problem.status, "detail": problem.detail}
    return Response(problem.status, "application/problem+json", json.dumps(body))


http.exception_handler(Problem)(_refusal)


@http.not_found
def _no_route(_: NotFoundError) -> Response[str]:
    return _refusal(Problem(404, "No such address", f"there is nothing at {http.current_event.path}"))


def _unexpected(_: Exception) -> Response[str]:
    """Nothing of the inside goes out; the log has it, under the request id that API Gateway's log has too."""
    logger.exception("the request could not be answered")
    return _refusal(Problem(500, "Internal error", "the request could not be answered; its id is in the logs"))


http.exception_handler(Exception)(_unexpected)
