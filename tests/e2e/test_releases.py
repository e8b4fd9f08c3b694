"""A change on its way: planned, applied as planned, promoted as it runs, refused where it must be, and taken back.

Each test goes on from where the one before it has left the environments, as a release does. Who plans has the plan
role, who applies the apply role, as in the workflows. Those marked `rehearsal` make the way longer, to a new image and
on to prod: `make rehearse-release` goes all of it and tells it as a story. Those marked `aside` are met on no such way.
"""

import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from clones import Clone
from imagepipe.cli.deliver import MORE

from .test_pipeline import eventually

MODULE = "modules/api/main.tf"
BEFORE, AFTER = '"Images of ${var.name_prefix}"', '"All images of ${var.name_prefix}"'

#: A change of the processor that anybody can see.
HANDLER = "lambda-image/src/image_processor/handlers/http.py"
OLD, NEW = '{"status": "ok"}', '{"status": "fine"}'

ENVIRONMENTS = ("dev", "staging", "prod")


def refusal(clone: Clone, *arguments: str, **environment: str) -> str:
    """The one line of a command that must fail."""
    finished = clone.imagepipe(*arguments, check=False, **environment)
    assert finished.returncode == 1, finished.stdout + finished.stderr
    *_, last = finished.stderr.strip().splitlines()
    assert last.startswith("imagepipe: "), finished.stderr
    return last


def description(clone: Clone, environment: str) -> str:
    """What the module in question has made of the API."""
    (api,) = clone.client(environment, "apigatewayv2").get_apis()["Items"]
    return str(api["Description"])


def health(clone: Clone, environment: str) -> str:
    """What the released image answers."""
    event = {"requestContext": {"http": {"method": "GET"}}, "rawPath": "/health"}
    answer = clone.client(environment, "lambda").invoke(
        FunctionName=f"image-pipeline-{environment}-api", Qualifier="live", Payload=json.dumps(event)
    )
    return str(json.loads(json.load(answer["Payload"])["body"])["status"])


def merge(clone: Clone, branch: str) -> None:
    clone.git("merge", "--quiet", "--no-ff", "--no-edit", branch)
    clone.git("branch", "--quiet", "--delete", branch)
    push(clone)


def push(clone: Clone) -> None:
    """The branch main, where there is somebody to push it to."""
    if clone.git("remote"):
        clone.git("push", "--quiet", "--force", "origin", "main")


def deploy(clone: Clone, environment: str, bundle: Path) -> str:
    """Plans all of an environment, applies that and tries it out, as its workflow does. Returns what apply says.

    Where units depend on what others will put out, there is more to plan after the first wave.
    """
    output = ""
    for _ in range(3):
        clone.imagepipe("plan", "--env", environment, "--bundle", str(bundle), ROLE="plan")
        applied = clone.imagepipe(
            "apply", "--env", environment, "--bundle", str(bundle), "--yes", check=False, ROLE="apply"
        )
        output += applied.stderr
        if applied.returncode != MORE:
            break
    assert applied.returncode == 0, output
    clone.imagepipe("smoke", "--env", environment, ROLE="apply")
    return output


def commit(clone: Clone, message: str) -> None:
    clone.git("add", "--all")
    clone.git("commit", "--quiet", "--message", message)


@pytest.fixture(scope="module")
def released(deployed: Clone) -> Clone:
    """dev runs an image that its release names and that the registry has. A bare clone is where all is merged."""
    remote = deployed.top.with_name("remote.git")
    deployed.git("clone", "--quiet", "--bare", ".", str(remote))
    deployed.git("remote", "add", "origin", str(remote))
    deployed.imagepipe("build-push", "--env", "dev", ROLE="apply")
    commit(deployed, "Release to dev")
    push(deployed)
    return deployed


@pytest.fixture
def bundles(released: Clone) -> Path:
    return released.top / "build/plans"


def test_a_pull_request_names_what_it_reaches_and_its_plan_is_exact(released: Clone, bundles: Path) -> None:
    released.git("switch", "--quiet", "--create", "better-api")
    for name, old, new in ((MODULE, BEFORE, AFTER), (HANDLER, OLD, NEW)):
        file = released.top / name
        file.write_text(file.read_text().replace(old, new))

    assert "is not committed" in refusal(released, "plan", "--env", "dev", "--bundle", str(bundles / "early"))
    commit(released, "Say that it is all images")
    reached = json.loads(released.imagepipe("affected", "--base", "main", "--json").stdout)["units"]
    assert {*reached} == {"dev/api", "dev/monitoring"}

    command = ("plan", "--env", "dev", "--units", "affected", "--base", "main", "--bundle", str(bundles / "dev"))
    released.imagepipe(*command, ROLE="plan")
    text = (bundles / "dev.md").read_text()
    assert "| api | · | 1 | · | · |" in text
    assert "`description`: `Images of image-pipeline-dev` → `All images of image-pipeline-dev`" in text
    assert "storage" not in text
    assert "All images" not in (bundles / "dev").read_text()


def test_merged_the_plan_of_main_is_applied_as_it_was_reviewed_and_recorded(released: Clone, bundles: Path) -> None:
    released.git("switch", "--quiet", "main")
    assert "modules is another one here" in refusal(released, "apply", "--env", "dev", "--bundle", str(bundles / "dev"))
    merge(released, "better-api")
    assert "AccessDenied" in refusal(released, "apply", "--env", "dev", "--bundle", str(bundles / "dev"), ROLE="plan")
    assert description(released, "dev") == "Images of image-pipeline-dev"

    output = released.imagepipe("apply", "--env", "dev", "--bundle", str(bundles / "dev"), ROLE="apply").stderr
    assert "dev: api applied as planned" in output
    assert "a new plan of dev is empty" in output
    assert description(released, "dev") == "All images of image-pipeline-dev"
    record = deployment(released, "dev")
    assert record["status"] == "succeeded"
    assert record["commit"] == record["modules"] == released.git("rev-parse", "HEAD")
    assert re.fullmatch("[0-9a-f]{64}", record["plan"])


def test_what_was_done_is_not_done_again(released: Clone, bundles: Path) -> None:
    before = deployment(released, "dev")
    output = released.imagepipe("apply", "--env", "dev", "--bundle", str(bundles / "dev")).stderr
    assert "this bundle was applied on" in output
    assert deployment(released, "dev") == before


def deployment(clone: Clone, environment: str) -> dict[str, Any]:
    stored = clone.client(environment, "s3").get_object(**_record(clone, environment))
    return dict(json.loads(stored["Body"].read()))


def write_deployment(clone: Clone, environment: str, content: dict[str, Any]) -> None:
    clone.client(environment, "s3").put_object(**_record(clone, environment), Body=json.dumps(content).encode())


def _record(clone: Clone, environment: str) -> dict[str, str]:
    account = clone.exports(environment)["AWS_ACCESS_KEY_ID"]
    return {"Bucket": f"image-pipeline-tfstate-{account}-eu-west-1", "Key": f"live/{environment}/deployment.json"}


@pytest.mark.rehearsal
def test_the_image_is_built_pushed_and_released_to_dev_and_nowhere_else(released: Clone, bundles: Path) -> None:
    before = json.loads((released.top / "live/dev/release.json").read_text())
    assert health(released, "dev") == "ok"
    output = released.imagepipe("build-push", "--env", "dev", ROLE="apply").stderr
    assert json.loads((released.top / "live/dev/release.json").read_text())["image"] != before["image"], output
    commit(released, "Release to dev")
    push(released)
    output = deploy(released, "dev", bundles / "image")
    assert "compute applied as planned" in output
    assert [health(released, name) for name in ENVIRONMENTS] == ["fine", "ok", "ok"]


@pytest.mark.rehearsal
@pytest.mark.parametrize("environment", ["staging", "prod"])
def test_the_others_have_not_moved(released: Clone, environment: str) -> None:
    drifted = released.imagepipe("drift", "--env", environment, ROLE="plan")
    assert f"{environment} matches its files" in drifted.stderr
    assert description(released, environment) == f"Images of image-pipeline-{environment}"


def test_what_nobody_tried_out_goes_nowhere(released: Clone) -> None:
    written = deployment(released, "dev")
    write_deployment(released, "dev", written | {"smoked": None})
    assert "dev has not been smoke-tested: make smoke ENV=dev" in promotion_refused(released)
    output = released.imagepipe("smoke", "--env", "dev", ROLE="apply").stderr
    assert "an image went in, came out by the API and was removed" in output
    uploads = released.outputs("dev")["upload_bucket_name"]
    assert released.client("dev", "s3").list_objects_v2(Bucket=uploads, Prefix="smoke/")["KeyCount"] == 0


def promotion_refused(clone: Clone, source: str = "dev", to: str = "staging") -> str:
    return refusal(clone, "promote", "--from", source, "--to", to, ROLE="plan")


@pytest.mark.parametrize(
    ("source", "to", "message"),
    [
        ("dev", "prod", "a release does not go from dev to prod: FROM=dev TO=staging, FROM=staging TO=prod"),
        ("dev", "dev", "a release does not go from dev to dev"),
        ("staging", "dev", "a release does not go from staging to dev"),
        ("shared", "dev", "no release goes through 'shared'"),
        ("dev", "qa", "no release goes through 'qa'"),
    ],
)
def test_no_environment_is_skipped(released: Clone, source: str, to: str, message: str) -> None:
    assert message in promotion_refused(released, source, to)


def test_nothing_goes_on_while_an_alarm_is_raised(released: Clone) -> None:
    alarms, name = released.client("dev", "cloudwatch"), "image-pipeline-dev-silence"
    alarms.put_metric_alarm(
        AlarmName=name, Namespace="Test", MetricName="Signs of life", Statistic="Sum", Period=10, EvaluationPeriods=1,
        ComparisonOperator="LessThanThreshold", Threshold=1, TreatMissingData="breaching",
    )  # fmt: skip
    alarms.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="as the next evaluation finds, too")
    try:
        assert f"{name} is raised in dev" in promotion_refused(released)
    finally:
        alarms.delete_alarms(AlarmNames=[name])


def test_a_promotion_is_one_file_on_a_branch_and_what_runs(released: Clone) -> None:
    head = released.git("rev-parse", "HEAD")
    output = released.imagepipe("promote", "--from", "dev", "--to", "staging", ROLE="plan").stdout
    assert released.git("rev-parse", "HEAD") == head
    assert released.git("status", "--porcelain") == ""
    assert released.git("diff", "--name-only", "main", "promote/staging") == "live/staging/release.json"
    release = json.loads(released.git("show", "promote/staging:live/staging/release.json"))
    assert release["image"] == json.loads((released.top / "live/dev/release.json").read_text())["image"]
    assert release["modules"] == deployment(released, "dev")["commit"]
    for words in ("Say that it is all images", "no alarm of dev is raised", "| api | · | 1 | · | · |"):
        assert words in output
    assert (released.top / "build/promotion/title.txt").read_text().startswith("Promote ")


@pytest.mark.aside
def test_the_same_promotion_again_is_the_same_branch_and_another_one_is_refused(released: Clone) -> None:
    before = released.git("rev-parse", "promote/staging")
    released.imagepipe("promote", "--from", "dev", "--to", "staging")
    assert released.git("rev-parse", "promote/staging") == before
    released.git("branch", "--force", "promote/staging", "main")
    try:
        assert "another release to staging is under way" in promotion_refused(released)
    finally:
        released.git("branch", "--force", "promote/staging", before)


@pytest.fixture
def branch(released: Clone) -> Iterator[Clone]:
    """The promotion's branch, checked out, to be tampered with."""
    released.git("switch", "--quiet", "--detach", "promote/staging")
    yield released
    released.git("reset", "--quiet", "--hard")
    released.git("clean", "--quiet", "-d", "--force")
    released.git("switch", "--quiet", "main")


def test_the_check_passes_what_promote_has_made(branch: Clone) -> None:
    output = branch.imagepipe("promote-check", "--base", "main", ROLE="plan").stderr
    assert "the registry has the image" in output
    assert "the release may be merged" in output


def test_the_check_passes_what_releases_nothing(branch: Clone) -> None:
    assert "no release file is changed" in branch.imagepipe("promote-check", "--base", "HEAD").stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": "sha256:" + "0" * 64}, "dev runs image sha256:"),
        ({"modules": "v0.0.1"}, "dev runs the modules of"),
        ({"modules": "no-such-tag"}, "there is no commit 'no-such-tag'"),
        ({"modules": "worktree"}, "a release names a tag or a commit"),
        ({"image": "worktree"}, "worktree stands for what a checkout holds"),
        ({"image": "latest"}, "live/staging/release.json: image: String should match"),
        ({"extra": 1}, "live/staging/release.json: extra: Extra inputs are not permitted"),
        ({"build": None}, "dev runs build"),
    ],
)
def test_the_check_refuses_what_does_not_run_in_the_environment_before(
    branch: Clone, change: dict[str, object], message: str
) -> None:
    file = branch.top / "live/staging/release.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    commit(branch, "Forged")
    assert message in refusal(branch, "promote-check", "--base", "main")


def test_the_check_refuses_a_second_file(branch: Clone) -> None:
    (branch.top / "live/staging/env.hcl").write_text((branch.top / "live/staging/env.hcl").read_text() + "\n")
    commit(branch, "And another thing")
    assert "changes live/staging/env.hcl too" in refusal(branch, "promote-check", "--base", "main")


def test_the_check_refuses_to_skip_staging(branch: Clone) -> None:
    branch.git("checkout", "main", "--", "live/staging/release.json")
    release = branch.git("show", "promote/staging:live/staging/release.json")
    (branch.top / "live/prod/release.json").write_text(release)
    branch.git("reset", "--quiet", "--soft", "main")
    commit(branch, "Straight to prod")
    assert "staging has not been smoke-tested" in refusal(branch, "promote-check", "--base", "main")


def test_promoted_it_runs_there_and_nowhere_else(released: Clone, bundles: Path) -> None:
    merge(released, "promote/staging")
    deploy(released, "staging", bundles / "staging")
    assert description(released, "staging") == "All images of image-pipeline-staging"
    assert description(released, "prod") == "Images of image-pipeline-prod"
    assert deployment(released, "staging")["status"] == "succeeded"


def test_what_has_not_run_long_enough_does_not_go_on(released: Clone) -> None:
    assert "live/staging/env.hcl asks for 24 hours" in promotion_refused(released, "staging", "prod")


@pytest.mark.rehearsal
def test_after_its_soak_it_is_proposed_for_prod(released: Clone) -> None:
    shorten(released)
    output = released.imagepipe("promote", "--from", "staging", "--to", "prod", ROLE="plan").stdout
    assert "no alarm of staging is raised" in output
    assert "**prod: 10 % first**" in output
    released.git("switch", "--quiet", "--detach", "promote/prod")
    try:
        output = released.imagepipe("promote-check", "--base", "main", ROLE="plan").stderr
    finally:
        released.git("switch", "--quiet", "main")
    assert "the release may be merged" in output


def shorten(clone: Clone) -> None:
    """Days become seconds: nobody rehearses a soak of a day."""
    for name, old, new in (
        ("staging", "soak_hours = 24", "soak_hours = 0"),
        ("prod", "bake_minutes = 20", "bake_minutes = 0.2"),
    ):
        file = clone.top / "live" / name / "env.hcl"
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))
    commit(clone, "Shorter days")
    push(clone)


@pytest.mark.rehearsal
def test_prod_gets_it_in_two_steps_watched_between(released: Clone, bundles: Path) -> None:
    merge(released, "promote/prod")
    output = deploy(released, "prod", bundles / "prod")
    assert "get 10 % of the calls first, for 0.2 minutes" in output
    assert "a new plan of prod is empty" in output
    assert [health(released, name) for name in ENVIRONMENTS] == ["fine", "fine", "fine"]
    assert description(released, "prod") == "All images of image-pipeline-prod"
    assert deployment(released, "prod")["status"] == "succeeded"


@pytest.mark.rehearsal
def test_prod_goes_back_to_what_it_ran_at_once(released: Clone, bundles: Path) -> None:
    released.imagepipe("rollback", "--env", "prod", "--to", "previous", ROLE="plan")
    merge(released, "rollback/prod")
    output = deploy(released, "prod", bundles / "prod-back")
    assert "% of the calls first" not in output
    assert [health(released, name) for name in ENVIRONMENTS] == ["fine", "fine", "ok"]
    assert description(released, "prod") == "Images of image-pipeline-prod"


@pytest.mark.rehearsal
def test_what_somebody_changes_by_hand_in_prod_is_found_named_and_mended(released: Clone) -> None:
    name = "image-pipeline-prod-queue-age"
    released.client("prod", "cloudwatch").disable_alarm_actions(AlarmNames=[name])
    drifted = released.imagepipe("drift", "--env", "prod", "--json", check=False, ROLE="plan")
    assert drifted.returncode == 2, drifted.stderr
    (difference,) = json.loads(drifted.stdout)["prod"]
    assert difference["by_hand"] is True
    assert [item["name"] for item in difference["attributes"]] == ["actions_enabled"]
    released.imagepipe("apply", "--env", "prod", "--yes", ROLE="apply")
    assert released.imagepipe("drift", "--env", "prod", ROLE="plan").returncode == 0


def test_a_plan_that_is_not_the_reviewed_one_is_not_applied(released: Clone, bundles: Path) -> None:
    bundle = str(bundles / "stale")
    released.imagepipe("plan", "--env", "staging", "--units", "api", "--bundle", bundle)
    released.terragrunt("run", "--", "taint", "aws_lambda_permission.api", unit="staging/api")
    output = refusal(released, "apply", "--env", "staging", "--bundle", bundle, "--yes")
    again = refusal(released, "plan", "--env", "staging", "--reviewed", bundle, ROLE="plan")
    released.terragrunt("run", "--", "untaint", "aws_lambda_permission.api", unit="staging/api")
    for said in (output, again):
        assert "the plan of staging is not the one that was reviewed" in said
        assert "api: delete-then-create aws_lambda_permission.api was not reviewed" in said
    released.imagepipe("plan", "--env", "staging", "--reviewed", bundle, ROLE="plan")


def test_a_bundle_is_good_for_one_environment(released: Clone, bundles: Path) -> None:
    command = ("apply", "--env", "prod", "--bundle", str(bundles / "staging"), "--yes")
    assert "the bundle is a plan of staging, not of prod" in refusal(released, *command)


@pytest.mark.aside
def test_a_provisioner_is_refused_where_it_is_planned_and_where_it_is_applied(released: Clone, bundles: Path) -> None:
    """A bundle was applied whatever was in its plans: a command ran with the apply role."""
    trace = released.top / "build/ran-by-a-plan"
    run = (
        f'resource "terraform_data" "run" {{\n  provisioner "local-exec" {{\n    command = "touch {trace}"\n  }}\n}}\n'
    )
    (released.top / "modules/api/run.tf").write_text(run)
    commit(released, "Run a command")
    command = ("plan", "--env", "dev", "--units", "api", "--bundle", str(bundles / "run"))
    try:
        assert "breaks the rule foreign-code: dev/api terraform_data.run: a provisioner" in refusal(released, *command)
        assert not (bundles / "run").exists()
        forge(released, bundles / "run")
        assert "the plan of dev breaks the rule foreign-code" in refusal(
            released, "apply", "--env", "dev", "--bundle", str(bundles / "run")
        )
    finally:
        released.git("reset", "--quiet", "--hard", "HEAD~1")
    # What somebody else planned with it, for what main holds without it.
    assert "planned at commit" in refusal(released, "apply", "--env", "dev", "--bundle", str(bundles / "run"))
    forge(released, bundles / "run", sources=True)
    assert "api: create terraform_data.run was reviewed, and is no longer planned" in refusal(
        released, "apply", "--env", "dev", "--bundle", str(bundles / "run")
    )
    assert not trace.exists()


def forge(clone: Clone, file: Path, *, sources: bool = False) -> None:
    """A bundle of dev as somebody writes it who obeys no rule, with the provisioner in it.

    Args:
        sources: keep what the file claims, for the sources that are checked out now.
    """
    script = """
import sys, tempfile
from pathlib import Path
from imagepipe.live import environments
from imagepipe.releases import bundle, policies, repository, snapshot
from imagepipe.terragrunt import target
file = Path(sys.argv[1])
if sys.argv[2] == "sources":
    bundle.write(file, bundle.read(file).model_copy(update={"trees": repository.trees()}))
else:
    dev = target.target(environments.load("dev"), target.Cloud.LOCAL)
    bundle.write(file, bundle.plan(snapshot.take(dev), ["api"], lambda line: None)[1])
"""
    clone.run([sys.executable, "-c", script, str(file), "sources" if sources else "plan"], clone.top, {}, True)


@pytest.mark.aside
def test_losing_stored_data_is_refused_without_a_waiver(released: Clone, bundles: Path) -> None:
    start = released.git("rev-parse", "HEAD")
    for name in ("modules/storage/queues.tf", "modules/storage/outputs.tf"):
        text = (released.top / name).read_text()
        text = text.replace('"aws_sqs_queue" "backfill"', '"aws_sqs_queue" "again"')
        (released.top / name).write_text(text.replace("aws_sqs_queue.backfill", "aws_sqs_queue.again"))
    commit(released, "Another name for a queue")
    command = ("plan", "--env", "dev", "--units", "storage", "--bundle", str(bundles / "loss"))
    try:
        assert "breaks the rule stateful-deletion" in refusal(released, *command)
        assert not (bundles / "loss").exists()
        assert "**destroys** `storage` `aws_sqs_queue.backfill`" in (bundles / "loss.md").read_text()
        waived = {
            "address": "aws_sqs_queue.backfill", "reason": "it holds nothing that is waited for",
            "rule": "stateful-deletion", "unit": "dev/storage", "until": str(date.today() + timedelta(days=7)),
        }  # fmt: skip
        (released.top / "live/waivers.json").write_text(json.dumps([waived]))
        commit(released, "Say that it may go")
        released.imagepipe(*command)
    finally:
        released.git("reset", "--quiet", "--hard", start)


@pytest.mark.aside
def test_a_unit_that_is_gone_is_not_forgotten(released: Clone, bundles: Path) -> None:
    released.git("mv", "live/dev/monitoring", "live/dev/watching")
    commit(released, "Rename a unit")
    try:
        output = refusal(released, "plan", "--env", "dev", "--units", "storage", "--bundle", str(bundles / "orphan"))
    finally:
        released.git("reset", "--quiet", "--hard", "HEAD~1")
    assert "live/dev/monitoring is gone, but what it deployed is not" in output


@pytest.mark.aside
def test_an_apply_that_died_goes_on_where_it_stopped(released: Clone, bundles: Path) -> None:
    file = released.top / "live/dev/env.hcl"
    file.write_text(file.read_text().replace('"DEBUG"', '"WARNING"'))
    commit(released, "Fewer words")
    bundle = str(bundles / "died")
    released.imagepipe("plan", "--env", "dev", "--units", "compute", "--bundle", bundle)

    interrupt_apply(released, bundle)
    assert deployment(released, "dev")["status"] == "failed"
    # Terraform sees nothing to change any more, though callers get what they got before.
    assert "an apply of dev died after it had changed announcer, api, processor" in refusal(
        released, "plan", "--env", "dev", "--units", "compute", "--bundle", str(bundles / "later")
    )
    output = released.imagepipe("apply", "--env", "dev", "--bundle", bundle)
    assert "a new plan of dev is empty" in output.stderr
    assert deployment(released, "dev")["status"] == "succeeded"
    function = released.client("dev", "lambda").get_function(FunctionName="image-pipeline-dev-api", Qualifier="live")
    assert function["Configuration"]["Environment"]["Variables"]["LOG_LEVEL"] == "WARNING"


def interrupt_apply(clone: Clone, bundle: str) -> None:
    """Ctrl-C, or a runner that is called off, once a function is changed and before there is a version of it.

    Terraform waits for seconds between the two.
    """
    name, functions = "image-pipeline-dev-api", clone.client("dev", "lambda")
    serving = functions.get_alias(FunctionName=name, Name="live")["FunctionVersion"]

    def changed() -> bool:
        configuration = functions.get_function_configuration(FunctionName=name)
        return bool(configuration["Environment"]["Variables"]["LOG_LEVEL"] == "WARNING")

    process = clone.start("apply", "--env", "dev", "--bundle", bundle)
    eventually(changed, seconds=120)
    os.killpg(process.pid, signal.SIGINT)
    _, output = process.communicate()
    assert process.returncode == 130
    assert "interrupted: Terraform ends what it has begun" in output
    log = (clone.top / "build/logs/dev-apply-compute.log").read_text()
    assert "Interrupt received" in log
    assert functions.get_alias(FunctionName=name, Name="live")["FunctionVersion"] == serving


@pytest.mark.aside
def test_rolled_back_it_runs_what_it_ran_before(released: Clone, bundles: Path) -> None:
    refused = refusal(released, "rollback", "--env", "staging", "--to", "v0.0.1")
    assert "staging ran no other release to a good end at v0.0.1; earlier releases of staging that did" in refused
    released.imagepipe("rollback", "--env", "staging", "--to", "previous")
    released.git("switch", "--quiet", "--detach", "rollback/staging")
    output = released.imagepipe("promote-check", "--base", "main", check=False)
    released.git("switch", "--quiet", "main")
    assert output.returncode == 0, output.stderr
    merge(released, "rollback/staging")
    deploy(released, "staging", bundles / "back")
    assert description(released, "staging") == "Images of image-pipeline-staging"
