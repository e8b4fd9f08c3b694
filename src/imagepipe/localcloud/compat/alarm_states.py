"""The state of a metric alarm."""

import operator
import time
from collections.abc import Callable
from typing import Any

from ministack.services import cloudwatch

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}


def evaluate_alarms_as_configured() -> None:
    """Evaluate an alarm on its own metric, period by period, with its setting for missing data.

    Upstream merges all dimensions of a metric name (a message in any queue sets off the alarm of the dead-letter
    queue), treats the evaluation periods as one, and ignores DatapointsToAlarm and TreatMissingData.
    """
    cloudwatch._evaluate_alarm = _evaluate


def _evaluate(alarm: dict[str, Any]) -> None:
    if alarm.get("ComparisonOperator") not in _COMPARE or not alarm.get("MetricName"):
        return  # anomaly detection and metric maths are not evaluated
    breaching = _breaching_periods(alarm)
    known = [breach for breach in breaching if breach is not None]
    if known:
        state = "ALARM" if sum(known) >= (alarm.get("DatapointsToAlarm") or len(breaching)) else "OK"
    elif alarm["TreatMissingData"] == "ignore":
        return
    else:
        state = "INSUFFICIENT_DATA"
    if state != alarm["StateValue"]:
        _enter(alarm, state, f"{sum(known)} of {len(breaching)} datapoints breach the threshold {alarm['Threshold']}")


def _breaching_periods(alarm: dict[str, Any]) -> list[bool | None]:
    """Return for the last periods whether they breach the threshold; None for one without data or a rule for that."""
    dimensions = cloudwatch._dims_key(cloudwatch._dims_from_list(alarm["Dimensions"]))
    points = list(cloudwatch._metrics.get((alarm["Namespace"], alarm["MetricName"], dimensions), []))
    statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic")
    missing = {"breaching": True, "notBreaching": False}.get(alarm["TreatMissingData"])
    now, period = time.time(), alarm["Period"]
    breaching: list[bool | None] = []
    for index in range(alarm["EvaluationPeriods"]):
        end = now - index * period
        within = [point for point in points if end - period < point["Timestamp"] <= end]
        stats = cloudwatch._calc_stats(within)
        value = cloudwatch._stat_value(stats, statistic, within) if stats else None
        breaching.append(missing if value is None else _COMPARE[alarm["ComparisonOperator"]](value, alarm["Threshold"]))
    return breaching


def _enter(alarm: dict[str, Any], state: str, reason: str) -> None:
    old = alarm["StateValue"]
    alarm.update(StateValue=state, StateReason=reason, StateUpdatedTimestamp=int(time.time()))
    cloudwatch._record_history(alarm["AlarmName"], old, state, reason)
    cloudwatch._dispatch_alarm_actions(alarm, old, state, reason)
    cloudwatch._evaluate_parent_alarms(alarm)
