# ruff: noqa: E501
"""Eight ways to break the processor, each one line or two of its source, and what the oracle must say of it."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from chaos.cloud import VISIBILITY_SECONDS, Deployment
from imagepipe.live.environments import ROOT


@dataclass(frozen=True)
class Mutant:
    name: str
    #: Module, what stands there, what is put in its place.
    changes: tuple[tuple[str, str, str], ...]
    seen_as: frozenset[str]  # kinds of violations, one of which must be among those found
    allow: tuple[str, ...] = ()  # actions that the broken processor needs
    meetings: float = 0.0  # share of the images whose begins wait for one another
    visibility: int = VISIBILITY_SECONDS  # of messages: hidden longer, none comes back in time to make it good


MUTANTS = (
    Mutant(
        "no sequencer check",
        (
            ("records/store.py", "(sequencer < :sequencer OR", "(sequencer <> :sequencer OR"),
            ("records/store.py", 'return bool(known["sequencer"] > event.sequencer)', "return False"),
        ),
        frozenset({"order", "state"}),
    ),
    Mutant(
        "publish before variants",
        (
            ("records/store.py", "            self._s3.put_object(", "            self.__dict__.setdefault('later', []).append(dict("),
            ("records/store.py", "CacheControl=CACHE_CONTROL,\n            )", "CacheControl=CACHE_CONTROL,\n            ))"),
            (
                "records/store.py",
                "        return self._settle(event, item, instead_of)\n",
                "        before = self._settle(event, item, instead_of)\n"
                "        for request in self.__dict__.pop('later', []):\n"
                "            self._s3.put_object(**request)\n"
                "        return before\n",
            ),
        ),
        frozenset({"incomplete", "variants"}),
    ),
    Mutant(
        "unconditional publish",
        (
            (
                "records/store.py",
                "condition, names, values = _only(instead_of) if instead_of else _unless_newer(event)",
                'condition, names, values = "", {}, {}',
            ),
        ),
        frozenset({"order", "state"}),
    ),
    Mutant(
        "ack before work",
        (("intake/batch.py", "            handle(message, risk)\n", "            queues.delete([message])\n            handle(message, risk)\n"),),
        frozenset({"state", "kept"}),
    ),
    Mutant(
        "no clean-up",
        (("records/store.py", "        pages = self._s3.get_paginator(", "        return\n        pages = self._s3.get_paginator("),),
        frozenset({"uncleaned"}),
    ),
    Mutant(
        "event before record",
        (
            ("records/announcements.py", '    if after.get("status") not in OUTCOMES:', "    if True:"),
            (
                "intake/processor.py",
                "        before = self._store.publish(event, work.revision, status, everything, instead_of=instead_of)\n",
                "        import json, os\n"
                "        from image_processor import aws\n"
                "        from image_processor.records import announcements\n"
                "        event_fields = {'image_id': event.image_id, 'sequencer': event.sequencer, 'revision': work.revision, 'status': status, 'status_since': ''}\n"
                "        entry = {'EventBusName': os.environ['METRICS_NAMESPACE'] + '-images', 'Source': 'image-pipeline',\n"
                "            'DetailType': announcements.OUTCOMES[status],\n"
                "            'Detail': json.dumps({**event_fields, 'id': announcements._id(event_fields)})}\n"
                "        aws.events().put_events(Entries=[entry])\n"
                "        before = self._store.publish(event, work.revision, status, everything, instead_of=instead_of)\n",
            ),
        ),
        frozenset({"events"}),
        ("events:PutEvents",),
    ),
    Mutant(
        "lost race ends the work",
        (("intake/processor.py", "            if work.known and self._is_over(event, work.known, turn):\n                return False\n", "            return False\n"),),
        frozenset({"state"}),
        meetings=1.0,
        visibility=60,
    ),
    Mutant(
        "linked without a verdict",
        (
            ("intake/processor.py", 'self._store.holder(source["sha256"], self.verdict_version)', 'self._store.holder(source["sha256"], "")'),
            ("intake/processor.py", "self._store.remember(event, content, self.verdict_version)", 'self._store.remember(event, content, "")'),
            ("intake/processor.py", '            or twin["pipeline"].get("verdict") != self.verdict_version\n', ""),
        ),
        frozenset({"state", "variants"}),
    ),
)  # fmt: skip


@contextmanager
def broken(deployment: Deployment, mutant: Mutant) -> Iterator[None]:
    """The deployment with a broken processor; afterwards it is whole again."""
    package = deployment.cloud.source / "image_processor"
    for module, before, after in mutant.changes:
        text = (package / module).read_text()
        assert before in text, f"{mutant.name}: {module} has changed, and the mutant has not"
        (package / module).write_text(text.replace(before, after))
    if mutant.allow:
        policy = json.loads(deployment.policies["processor"])
        policy["Statement"].append({"Effect": "Allow", "Action": list(mutant.allow), "Resource": "*"})
        deployment.set_policy("processor", json.dumps(policy))
    deployment.cloud.restart_functions()
    deployment.hide_messages(mutant.visibility)
    try:
        yield
    finally:
        deployment.hide_messages(deployment.visibility)
        shutil.copytree(ROOT / "lambda-image/src", deployment.cloud.source, dirs_exist_ok=True)
        deployment.set_policy("processor", deployment.policies["processor"])
        deployment.cloud.restart_functions()
