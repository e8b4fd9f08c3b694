"""Metrics of queues."""

import logging
import threading
import time
from typing import Any

from ministack.core.responses import request_scope
from ministack.services import cloudwatch, sqs

#: AWS publishes once a minute, which is too long for people who watch a demo.
INTERVAL_SECONDS = 5.0

_log = logging.getLogger(__name__)


def publish_queue_metrics() -> None:
    """Publish the AWS/SQS metrics of all queues, and evaluate alarms, at an interval.

    Upstream publishes no AWS/SQS metric, and evaluates alarms only after PutMetricData.
    """
    threading.Thread(target=_publish_for_ever, name="queue-metrics", daemon=True).start()


def _publish_for_ever() -> None:
    while True:
        time.sleep(INTERVAL_SECONDS)
        try:
            publish()
        except RuntimeError:  # a dictionary changed while it was read: the next round will do
            _log.debug("queue metrics left out once", exc_info=True)


def publish() -> None:
    """Publish the metrics of all queues once, and evaluate all alarms."""
    for (account, region, _), queue in sqs._queues.all_items():
        with request_scope(account, region):
            for (name, unit), value in _measure(queue).items():
                cloudwatch.record_metric("AWS/SQS", name, value, unit, {"QueueName": queue["name"]})
    for account, region in {(account, region) for (account, region, _), _ in cloudwatch._alarms.all_items()}:
        with request_scope(account, region):
            cloudwatch._evaluate_all_alarms()


def _measure(queue: dict[str, Any]) -> dict[tuple[str, str], float]:
    """Return (metric, unit) → value of a queue."""
    now = time.time()
    messages = list(queue["messages"])
    visible = sum(message["visible_at"] <= now for message in messages)
    age = max((now - message["sent_at"] for message in messages), default=0.0)
    return {
        ("ApproximateNumberOfMessagesVisible", "Count"): visible,
        ("ApproximateNumberOfMessagesNotVisible", "Count"): len(messages) - visible,
        ("ApproximateAgeOfOldestMessage", "Seconds"): age,
    }
