"""What CloudWatch knows of queues."""

import logging
import threading
import time
from typing import Any

from ministack.core.responses import request_scope
from ministack.services import cloudwatch, sqs

#: AWS publishes once a minute; people who watch a demo should not wait that long.
INTERVAL_SECONDS = 5.0

_log = logging.getLogger(__name__)


def publish_queue_metrics() -> None:
    """Queues have their AWS/SQS metrics, and alarms look at them again when time has passed.

    Upstream publishes no AWS/SQS metric, and evaluates alarms only when somebody puts metric data.
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
    for (account, region, _), queue in sqs._queues.all_items():
        with request_scope(account, region):
            for (name, unit), value in _measure(queue).items():
                cloudwatch.record_metric("AWS/SQS", name, value, unit, {"QueueName": queue["name"]})
    for account, region in {(account, region) for (account, region, _), _ in cloudwatch._alarms.all_items()}:
        with request_scope(account, region):
            cloudwatch._evaluate_all_alarms()


def _measure(queue: dict[str, Any]) -> dict[tuple[str, str], float]:
    """Metric and unit → value."""
    now = time.time()
    messages = list(queue["messages"])
    visible = sum(message["visible_at"] <= now for message in messages)
    age = max((now - message["sent_at"] for message in messages), default=0.0)
    return {
        ("ApproximateNumberOfMessagesVisible", "Count"): visible,
        ("ApproximateNumberOfMessagesNotVisible", "Count"): len(messages) - visible,
        ("ApproximateAgeOfOldestMessage", "Seconds"): age,
    }
