"""A verdict depends on the picture alone, never on what the same decoder saw before it.

Broken files and good ones go through few decoders in turn; every answer must be that of a fresh decoder: verdict,
words, facts and bytes. `make verdicts PAIRS=10000` sends more of them.
"""

import hashlib
import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import cache
from typing import Any

import pytest
from seeds import UNSPEAKABLE, seeds

from image_processor.decoder.answers import Question, understand
from image_processor.decoder.process import Process
from image_processor.decoder.sandbox import Rendered, Sandbox
from image_processor.recipe import Animation, Encoding, Limits, Recipe, ladder
from image_processor.sniff import sniff
from image_processor.verdict import Reason, Rejected

PAIRS = int(os.environ.get("PAIRS", "6"))
LONG = PAIRS > 100

#: Every kind of encoder at small sizes, and profiles and EXIF are read.
RECIPE = Recipe(
    variants=ladder(48, thumbnail=16, formats=(Encoding("avif", 50), Encoding("webp", 50), Encoding("jpeg", 50))),
    animation=Animation(max_frames=20),
    partial=False,
)


@cache
def good() -> dict[str, bytes]:
    names = list(seeds()) if LONG else ["jpeg-exif", "webp-animated", "heic"]
    return {name: bytes(seeds()[name]) for name in names}


@cache
def broken() -> dict[str, bytes]:
    """Return files that every decoder refuses, in as many ways as the repository can make."""
    files = {"no UTF-8 in the words": UNSPEAKABLE}
    chance = random.Random(39)
    for name, seed in seeds().items():
        data = bytes(seed)
        files[f"{name} cut"] = data[: len(data) * 2 // 3]
        start = len(data) // 2
        files[f"{name} with noise"] = data[:start] + chance.randbytes(len(data) - start)
        files[f"{name} with no letters"] = data.replace(data[20:24], b"\xff\xfe\x80\xc3", 1)
    files = {name: data for name, data in files.items() if _has_a_format(data)}
    return files if LONG else {name: files[name] for name in list(files)[:: len(files) // 5]}


def _has_a_format(data: bytes) -> bool:
    try:
        return bool(sniff(data))
    except Rejected:
        return False


def verdict(box: Sandbox, data: bytes) -> Any:
    try:
        rendered = box.render(data, RECIPE)
    except Rejected as rejected:
        return rejected.reason, rejected.message, rejected.header
    return summary(rendered)


def summary(rendered: Rendered) -> Any:
    facts = asdict(rendered.rendition)
    for variant in facts["variants"]:
        variant["data"] = hashlib.sha256(variant["data"]).hexdigest()
    return rendered.header, facts


@cache
def fresh_verdict(data: bytes) -> Any:
    with Sandbox(Limits()) as box:
        return verdict(box, data)


def pairs(seed: int) -> Iterator[tuple[str, str]]:
    chance = random.Random(seed)
    while True:
        yield chance.choice(list(broken())), chance.choice(list(good()))


def test_good_pictures_after_broken_ones_get_the_verdict_words_and_bytes_of_a_fresh_decoder() -> None:
    def run(seed: int) -> int:
        with Sandbox(Limits(), threads=2) as box:
            for _, (bad, fine) in zip(range(PAIRS // 2), pairs(seed), strict=False):
                for name, data in ((bad, broken()[bad]), (fine, good()[fine])):
                    assert verdict(box, data) == fresh_verdict(data), (
                        f"{name} in a pair of {bad} and {fine}, seed {seed}"
                    )
        return PAIRS // 2

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(run, (1, 2))) == PAIRS // 2 * 2


def test_decoder_that_has_refused_pictures_still_makes_the_same_bytes() -> None:
    """The same without the sandbox's care: one process goes on, whatever it saw.

    It may refuse a good picture because of an earlier one. Then the sandbox asks a fresh process.
    """
    process = Process(Limits(), 2, with_heic=True)
    false = 0
    try:
        for _, (bad, fine) in zip(range(PAIRS), pairs(3), strict=False):
            for name, data in ((bad, broken()[bad]), (fine, good()[fine])):
                if not process.usable:
                    process.end()
                    process = Process(Limits(), 2, with_heic=True)
                answer, blobs = process.render(data, {"recipe": asdict(RECIPE), "focal_point": None})
                if answer["status"] == "ready":
                    made = Rendered(*understand(answer, blobs, Question(sniff(data), RECIPE, Limits())))
                    assert summary(made) == fresh_verdict(data), f"{name} after {bad}"
                elif name == fine:
                    false += 1
    finally:
        process.end()
    print(f"{false} of {PAIRS} good pictures were refused after a broken one; a fresh process accepts them")


def test_refusal_by_a_process_that_worked_before_is_asked_of_a_fresh_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A late thread of an earlier picture wrote words without UTF-8: pyvips then refuses the next, good picture."""
    plain = Process.render

    def render(process: Process, *arguments: Any) -> tuple[dict[str, Any], list[bytes]]:
        used = process.images > 0
        answer, blobs = plain(process, *arguments)
        if used:
            words = "the bytes are so broken that the error is unreadable"
            answer = {**answer, "status": "rejected", "reason": Reason.UNDECODABLE, "message": words}
        return answer, [] if used else blobs

    monkeypatch.setattr(Process, "render", render)
    data = good()["jpeg-exif"]
    with Sandbox(Limits()) as box:
        first, second = verdict(box, data), verdict(box, data)
    assert first == second == fresh_verdict(data)


def test_process_that_refused_a_picture_takes_no_other_one() -> None:
    with Sandbox(Limits()) as box:
        box.held()
        used = box.process.pid
        with pytest.raises(Rejected):
            box.render(good()["jpeg-exif"][:900], RECIPE)
        assert box.process.pid != used
        assert box.process.images == 0
        assert sniff(good()["jpeg-exif"]) == box.render(good()["jpeg-exif"], RECIPE).header.format
