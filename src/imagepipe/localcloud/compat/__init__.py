"""Mends of the emulator (MiniStack 1.5.33), applied in its process before it starts.

The docstring of a mend says what the local cloud does, as AWS does it, and then, as a report to upstream would, what
the emulator does by itself. tests/local/test_compat.py tries the emulator as it comes: when a test there fails with
"upstream does this now", its mend may go.
"""

from imagepipe.localcloud.compat.alarm_states import evaluate_alarms_as_configured, record_actions_of_alarms
from imagepipe.localcloud.compat.alarms import keep_whole_alarms
from imagepipe.localcloud.compat.apis import (
    delete_settings_of_one_route,
    find_apis_of_every_account,
    give_apis_all_their_paths,
    keep_function_errors_from_callers,
    refuse_callers_of_apis_in_one_way,
)
from imagepipe.localcloud.compat.buses import limit_bytes_of_put_events
from imagepipe.localcloud.compat.functions import (
    count_calls_of_each_version,
    run_image_functions_in,
    share_calls_by_weight,
)
from imagepipe.localcloud.compat.listening import leave_port_443_alone, stop_in_spite_of_idle_clients
from imagepipe.localcloud.compat.logs import judge_log_streams_by_their_name
from imagepipe.localcloud.compat.objects import encode_keys_of_listed_versions
from imagepipe.localcloud.compat.queues import publish_queue_metrics
from imagepipe.localcloud.compat.requests import (
    find_what_requests_are_about,
    let_wildcards_stand_for_line_breaks,
    tell_policies_more_of_requests,
)
from imagepipe.localcloud.compat.roles import tell_roles_who_assumes_them
from imagepipe.localcloud.compat.snapshots import save_while_running


def mend(function_host: str) -> None:
    """Apply every mend; `function_host` is the URL of the function host."""
    run_image_functions_in(function_host)
    share_calls_by_weight()
    count_calls_of_each_version()
    find_apis_of_every_account()
    give_apis_all_their_paths()
    keep_function_errors_from_callers()
    refuse_callers_of_apis_in_one_way()
    delete_settings_of_one_route()
    tell_roles_who_assumes_them()
    tell_policies_more_of_requests()
    find_what_requests_are_about()
    let_wildcards_stand_for_line_breaks()
    judge_log_streams_by_their_name()
    keep_whole_alarms()
    evaluate_alarms_as_configured()
    record_actions_of_alarms()
    encode_keys_of_listed_versions()
    limit_bytes_of_put_events()
    publish_queue_metrics()
    save_while_running()
    leave_port_443_alone()
    stop_in_spite_of_idle_clients()
