"""The state of a metric alarm."""

import operator
import re
import time
from collections.abc import Callable
from typing import Any

from ministack.services import cloudwatch, sns

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}


def evaluate_alarms_as_configured() -> None:
    """Evaluate an alarm on its own metric or sum of metrics, period by period, with its setting for missing data.

    Upstream merges all dimensions of a metric name (a message in any queue sets off the alarm of the dead-letter
    queue), treats the evaluation periods as one, ignores DatapointsToAlarm and TreatMissingData, and evaluates no
    metric maths.
    """
    cloudwatch._evaluate_alarm = _evaluate


def record_actions_of_alarms() -> None:
    """Record in the history of an alarm which topics it has called, and whether they were there.

    Upstream calls the topics and records changes of state only: DescribeAlarmHistory has no item of type Action.
    """
    call = cloudwatch._dispatch_alarm_actions

    def call_and_record(alarm: dict[str, Any], old: str, new: str, reason: str) -> None:
        call(alarm, old, new, reason)
        field = {"ALARM": "AlarmActions", "OK": "OKActions"}.get(new, "InsufficientDataActions")
        topics = [arn for arn in alarm.get(field) or [] if cloudwatch._is_sns_action_arn(arn)]
        for arn in topics if alarm.get("ActionsEnabled", True) else []:
            done = "Successfully executed" if sns._topics.get(arn) else "Failed to execute"
            entry = {"AlarmName": alarm["AlarmName"], "AlarmType": "MetricAlarm", "HistoryItemType": "Action"}
            entry |= {"HistorySummary": f"{done} action {arn}", "HistoryData": "{}"}
            cloudwatch._history_entries().append(entry | {"Timestamp": cloudwatch._ts_iso(time.time())})

    cloudwatch._dispatch_alarm_actions = call_and_record


def _evaluate(alarm: dict[str, Any]) -> None:
    read = _reader(alarm)
    if alarm.get("ComparisonOperator") not in _COMPARE or not read:
        return  # anomaly detection and other metric maths are not evaluated
    missing = {"breaching": True, "notBreaching": False}.get(_treatment(alarm))
    compare, threshold = _COMPARE[alarm["ComparisonOperator"]], alarm["Threshold"]
    now = time.time()
    values = [read(now, age) for age in range(alarm["EvaluationPeriods"])]
    breaching = [missing if value is None else compare(value, threshold) for value in values]
    known = [breach for breach in breaching if breach is not None]
    if known:
        state = "ALARM" if sum(known) >= (alarm.get("DatapointsToAlarm") or len(breaching)) else "OK"
    elif _treatment(alarm) == "ignore":
        return
    else:
        state = "INSUFFICIENT_DATA"
    if state != alarm["StateValue"]:
        _enter(alarm, state, f"{sum(known)} of {len(breaching)} datapoints breach the threshold {alarm['Threshold']}")


#: Reads the value of a period: its end is so many periods before a time. None without data.
_Reader = Callable[[float, int], float | None]


def _treatment(alarm: dict[str, Any]) -> str:
    """Return the setting for missing data. Alarms on AWS/DynamoDB always ignore it (API reference, PutMetricAlarm)."""
    return "ignore" if alarm.get("Namespace") == "AWS/DynamoDB" else str(alarm["TreatMissingData"])


def _reader(alarm: dict[str, Any]) -> _Reader | None:
    """Return the reader of an alarm's metric, or of a sum such as `FILL(a, 0) + FILL(b, 0)`; None for anything else."""
    if alarm.get("MetricName"):
        statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic")
        return _metric(alarm, statistic, alarm["Period"])
    queries = {query["Id"]: query for query in alarm.get("Metrics") or []}
    expressions = [query["Expression"] for query in queries.values() if "Expression" in query]
    terms = [re.fullmatch(r"FILL\((\w+), *0\)", term.strip()) for one in expressions for term in one.split("+")]
    if len(expressions) != 1 or not all(term and "MetricStat" in queries.get(term[1], {}) for term in terms):
        return None
    stats = [queries[term[1]]["MetricStat"] for term in terms if term]
    readers = [_metric(stat["Metric"], stat["Stat"], int(stat["Period"])) for stat in stats]
    return lambda now, age: sum(read(now, age) or 0 for read in readers)


def _metric(metric: dict[str, Any], statistic: str | None, period: int) -> _Reader:
    dimensions = cloudwatch._dims_key(cloudwatch._dims_from_list(metric.get("Dimensions") or []))
    points = list(cloudwatch._metrics.get((metric["Namespace"], metric["MetricName"], dimensions), []))

    def read(now: float, age: int) -> float | None:
        end = now - age * period
        within = [point for point in points if end - period < point["Timestamp"] <= end]
        stats = cloudwatch._calc_stats(within)
        return cloudwatch._stat_value(stats, statistic, within) if stats else None

    return read


def _enter(alarm: dict[str, Any], state: str, reason: str) -> None:
    old = alarm["StateValue"]
    alarm.update(StateValue=state, StateReason=reason, StateUpdatedTimestamp=int(time.time()))
    cloudwatch._record_history(alarm["AlarmName"], old, state, reason)
    cloudwatch._dispatch_alarm_actions(alarm, old, state, reason)
    cloudwatch._evaluate_parent_alarms(alarm)
