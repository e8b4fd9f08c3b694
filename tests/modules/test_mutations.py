"""The tests above can see: each weakening of a module, one word or line of it, makes the test that guards it fail."""

from collections.abc import Callable
from pathlib import Path

import pytest

from . import test_api, test_ci_access, test_compute, test_monitoring, test_registry, test_storage, test_who_may_what
from .conftest import ACCOUNT
from .evaluator import Request, judge
from .harness import Resources

ROOT = Path(__file__).resolve().parents[2]

Check = Callable[[Resources], None]


def of_bucket(test: str) -> Check:
    return lambda plan: getattr(test_storage.TestBucket(), test)(plan, "uploads")


def of_function(test: str) -> Check:
    return lambda plan: getattr(test_compute.TestFunction(), test)(plan, "processor")


def of_uploads(plan: Resources) -> None:
    test_compute.test_queue_feeds_the_alias_and_hears_of_each_message(plan, "uploads", test_compute.QUEUE, 40)


def of_runbook(plan: Resources) -> None:
    test_monitoring.test_every_alarm_names_its_section_of_the_runbook(plan, ROOT)


def of_trust(plan: Resources) -> None:
    test_ci_access.test_a_role_trusts_named_jobs_of_one_repository_in_both_forms(plan, "apply", ["environment:prod"])


def of_questions(section: str) -> Check:
    """Rows of one section about prod's apply role, which ci-access alone answers."""

    def check(plan: Resources) -> None:
        rows = [row for row in test_who_may_what.ROWS if row.who == "prod.apply" and row.section.startswith(section)]
        asking = test_who_may_what.principal(lambda *_: plan, "prod.apply")
        wrong = [
            row.text
            for row in rows
            if judge(asking, Request(row.action, row.resource, ACCOUNT, row.context)).allowed is not row.allowed
        ]
        assert rows
        assert wrong == []

    return check


#: By module: file, what stands there, what is put in its place, and the test that must notice.
MUTATIONS: dict[str, list[tuple[str, str, str, Check]]] = {
    "api": [
        (
            "main.tf",
            '{ authorization = "AWS_IAM" }',
            '{ authorization = "NONE" }',
            test_api.test_every_route_needs_a_signature_by_default,
        ),
        ("main.tf", " || var.public_reading", " || true", test_api.test_every_route_needs_a_signature_by_default),
        (
            "main.tf",
            '"$context.identity.sourceIp"',
            '"$context.path"',
            test_api.test_log_line_is_json_whatever_callers_and_functions_write,
        ),
        (
            "main.tf",
            "allow_origins  = var.cors.allow_origins",
            'allow_origins  = ["*"]',
            test_api.test_other_origins_may_do_what_the_data_says,
        ),
        (
            "main.tf",
            "throttling_rate_limit  = var.throttling.rate_limit",
            "throttling_rate_limit  = 10000",
            test_api.test_callers_share_a_limit,
        ),
    ],
    "ci-access": [
        (
            "main.tf",
            '"StringEquals"\n      variable = "${local.issuer}:sub"',
            '"StringLike"\n      variable = "${local.issuer}:sub"',
            of_trust,
        ),
        ("policy_read.tf", '["s3:GetObject"]', '["s3:*Object"]', test_ci_access.test_the_plan_role_reads),
        ("policy_read.tf", '"dynamodb:Scan",', "", test_ci_access.test_the_plan_role_sees_no_image_record_or_message),
        (
            "names.tf",
            'lock_keys = "${var.state.bucket}/${var.state.prefix}/*"',
            'lock_keys = "${var.state.bucket}/*"',
            test_ci_access.test_state_and_locks_are_the_environments_own,
        ),
        (
            "names.tf",
            ":sns:${local.regional}:${var.name_prefix}-*",
            ":sns:${local.regional}:*",
            test_ci_access.test_what_is_written_bears_the_environments_name_or_tag,
        ),
        (
            "policy_roles.tf",
            '"iam:PermissionsBoundary"',
            '"aws:PrincipalArn"',
            test_ci_access.test_the_apply_role_gives_rights_within_the_boundary_only,
        ),
        ("policy_roles.tf", '"iam:Put*",', "", test_ci_access.test_nobody_changes_what_holds_him),
        (
            "functions.tf",
            '"aws:SourceAccount"',
            '"aws:PrincipalAccount"',
            test_ci_access.test_roles_of_functions_can_be_taken_by_lambda_of_this_account_only,
        ),
        ("main.tf", "count = var.erasable ? 1 : 0", "count = 1", of_questions("Where force_destroy = false")),
        (
            "policy_write_services.tf",
            '"lambda:Principal"',
            '"lambda:FunctionArn"',
            of_questions("No role is made or opened"),
        ),
        ("policy_boundary.tf", "${local.arns.buckets}/*", "*", test_ci_access.test_functions_end_at_their_own_things),
    ],
    "compute": [
        (
            "queues.tf",
            '["ReportBatchItemFailures"]',
            "[]",
            of_uploads,
        ),
        (
            "main.tf",
            "publish       = true",
            "publish       = false",
            of_function("test_publishes_versions_behind_an_alias"),
        ),
        (
            "main.tf",
            "retention_in_days = var.log_retention_days",
            "retention_in_days = 0",
            of_function("test_logs_to_a_group_of_its_own_that_forgets"),
        ),
        (
            "roles.tf",
            '["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]',
            '["s3:*"]',
            test_compute.test_processor_may_do_what_it_does_and_nothing_else,
        ),
        (
            "roles.tf",
            "${var.storage.table.arn}/index/${index}",
            "*",
            test_compute.test_api_may_do_what_it_does_and_nothing_else,
        ),
    ],
    "monitoring": [
        ("metric_alarms.tf", "#${each.key}", "", of_runbook),
        (
            "metric_alarms.tf",
            '"notBreaching"',
            '"missing"',
            test_monitoring.test_alarms_fire_above_their_threshold_and_stay_quiet_without_traffic,
        ),
        (
            "main.tf",
            '"aws:SourceAccount"',
            '"aws:PrincipalAccount"',
            test_monitoring.test_only_alarms_of_this_account_may_use_the_topic,
        ),
    ],
    "registry": [
        ("main.tf", '"IMMUTABLE"', '"MUTABLE"', test_registry.test_tags_cannot_be_moved),
        ("main.tf", "scan_on_push = true", "scan_on_push = false", test_registry.test_images_are_scanned_and_encrypted),
        ("main.tf", "countNumber   = 9999", "countNumber   = 10", test_registry.test_a_released_image_never_expires),
        ("main.tf", ":function:*", ":*", test_registry.test_environments_and_their_functions_may_pull_and_nothing_else),
    ],
    "storage": [
        (
            "buckets.tf",
            "block_public_policy     = true",
            "block_public_policy     = false",
            of_bucket("test_is_closed_to_the_public"),
        ),
        (
            "buckets.tf",
            '"BucketOwnerEnforced"',
            '"BucketOwnerPreferred"',
            of_bucket("test_belongs_to_its_owner_without_acls"),
        ),
        (
            "buckets.tf",
            '    status = "Enabled"\n  }\n\n  depends',
            '    status = "Suspended"\n  }\n\n  depends',
            of_bucket("test_keeps_versions"),
        ),
        ("buckets.tf", '["s3:*"]', '["s3:GetObject"]', of_bucket("test_speaks_tls_only")),
        (
            "buckets.tf",
            'value = "test-data"',
            'value = "data"',
            of_bucket("test_expires_current_images_only_when_they_are_test_data"),
        ),
        (
            "queues.tf",
            '"aws:SourceArn"',
            '"aws:PrincipalArn"',
            test_storage.test_only_the_upload_bucket_may_send_to_the_queue,
        ),
        (
            "queues.tf",
            '"byQueue"',
            '"allowAll"',
            test_storage.test_messages_that_fail_go_to_the_dead_letter_queue_and_stay_longer,
        ),
        ("queues.tf", "? null : true", "? null : false", test_storage.test_queues_are_encrypted),
        (
            "table.tf",
            "point_in_time_recovery {\n    enabled = true",
            "point_in_time_recovery {\n    enabled = false",
            test_storage.test_table_is_paid_per_request_and_survives_mistakes,
        ),
    ],
}


@pytest.mark.parametrize(
    ("module", "check"),
    [
        pytest.param(module, check, id=f"{module}: {before.strip()} -> {after.strip()}")
        for module, mutations in MUTATIONS.items()
        for _, before, after, check in mutations
    ],
)
def test_weakened_module_is_noticed(planned: Callable[[str, str], Resources], module: str, check: Check) -> None:
    weakened = planned(module, "weakened")
    with pytest.raises(AssertionError):
        check(weakened)
