"""The peer of `make bench-cold`: the same pipeline as a competent team writes it on the libraries' first pages.

Same triggers, and the very variants of the default recipe with its encoders and settings, each shrunk from the source;
what is recorded of the source, as far as libvips gives it; every event once, by the library's own means.
"""

import hashlib
import json
import os
from datetime import UTC, datetime
from urllib.parse import unquote_plus

import boto3
import pyvips
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)

logger = Logger(service="naive")
metrics = Metrics(namespace="naive", service="naive")
tracer = Tracer(service="naive")
processor = BatchProcessor(event_type=EventType.SQS)

s3 = boto3.client("s3")
table = boto3.resource("dynamodb").Table(os.environ["TABLE_NAME"])
done = DynamoDBPersistenceLayer(table_name=os.environ["TABLE_NAME"], key_attr="image_id")
once = IdempotencyConfig(event_key_jmespath="s3.[bucket.name, object.key, object.sequencer]")

VARIANTS = {
    "w256": (256, {}, {"avif": 60, "jpeg": 70}),
    "w640": (640, {}, {"avif": 60, "jpeg": 70}),
    "thumbnail": (320, {"height": 320, "crop": "attention"}, {"avif": 60, "jpeg": 70}),
    "w1280": (1280, {}, {"jpeg": 72}),
    "w1920": (1920, {}, {"jpeg": 76}),
}


def heic_to_png(data):
    import io

    import pi_heif

    written = io.BytesIO()
    pi_heif.open_heif(data)[0].to_pillow().save(written, "PNG")
    return written.getvalue()


def facts(data):
    source = pyvips.Image.new_from_buffer(data, "")
    exif = {name: source.get(name) for name in source.get_fields() if name.startswith("exif-ifd")}
    pixel = pyvips.Image.thumbnail_buffer(data, 1, height=1, size="force").colourspace("srgb")(0, 0)
    return {
        "sha256": hashlib.sha256(data).hexdigest(),
        "width": source.width,
        "height": source.height,
        "exif": exif,
        "colour": "#" + "".join(f"{round(value):02x}" for value in pixel[:3]),
    }


@tracer.capture_method
def record_handler(record):
    for event in json.loads(record.body)["Records"]:
        make_variants(event=event)


@idempotent_function(data_keyword_argument="event", persistence_store=done, config=once)
def make_variants(event):
    bucket, key = event["s3"]["bucket"]["name"], unquote_plus(event["s3"]["object"]["key"])
    data = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    if data[8:12] in (b"heic", b"heix", b"mif1"):
        data = heic_to_png(data)
    variants = {}
    for variant, (width, shape, qualities) in VARIANTS.items():
        image = pyvips.Image.thumbnail_buffer(data, width, size="down", **shape).copy_memory()
        if "avif" in qualities:
            variants[f"{variant}-avif"] = image.heifsave_buffer(compression="av1", Q=qualities["avif"], effort=0)
        variants[f"{variant}-jpeg"] = image.jpegsave_buffer(Q=qualities["jpeg"], quant_table=4)
    for name, content in variants.items():
        s3.put_object(Bucket=os.environ["PROCESSED_BUCKET"], Key=f"{key}/{name}", Body=content)
    table.put_item(
        Item={
            "image_id": key,
            "status": "READY",
            "source": facts(data),
            "variants": list(variants),
            "at": datetime.now(UTC).isoformat(),
        }
    )
    metrics.add_metric(name="ImagesProcessed", unit=MetricUnit.Count, value=1)
    logger.info("processed", key=key)


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics
def handler(event, context):
    return process_partial_response(event=event, record_handler=record_handler, processor=processor, context=context)
