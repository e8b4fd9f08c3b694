"""Answers of a decoding process that a file took over: nothing that the recipe does not make is believed or stored."""

import copy
import random
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest
from seeds import seeds

from image_processor.decoder import answers, engine, gate
from image_processor.decoder.answers import Question, understand
from image_processor.decoder.process import Faulty, Process
from image_processor.decoder.sandbox import Sandbox
from image_processor.decoder.sizes import sizes
from image_processor.intake.processor import Processor
from image_processor.recipe import CROPS, FITS, Animation, Encoding, Limits, Recipe, VariantSpec, ladder
from image_processor.sniff import sniff
from image_processor.verdict import Reason, Rejected
from imagepipe.images import samples

from ..conftest import Environment

Answer = tuple[dict[str, Any], list[bytes]]

RECIPE = Recipe(variants=ladder(48, thumbnail=16), animation=Animation(max_frames=20), gps=True)
SCRIPT = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


@pytest.fixture(scope="module")
def genuine() -> dict[str, Answer]:
    """What an honest process answers, by the name of the file."""
    process = Process(Limits(), 1, with_heic=True)
    try:
        order = {"recipe": asdict(RECIPE), "focal_point": None}
        return {name: process.render(bytes(data), order) for name, data in seeds().items()}
    finally:
        process.end()


def question(name: str, recipe: Recipe = RECIPE) -> Question:
    return Question(sniff(bytes(seeds()[name])), recipe, Limits())


def test_honest_answers_are_understood_for_every_format(genuine: dict[str, Answer]) -> None:
    for name, (answer, blobs) in genuine.items():
        header, rendition, usage = understand(copy.deepcopy(answer), blobs, question(name))
        assert header.upright == (rendition.width, rendition.height), name
        assert usage.peak_bytes > 20e6


def variant(**values: Any) -> Callable[[dict[str, Any], list[bytes]], None]:
    """Change fields of the first variant."""
    return lambda answer, _: answer["rendition"]["variants"][0].update(values)


def facts(**values: Any) -> Callable[[dict[str, Any], list[bytes]], None]:
    return lambda answer, _: answer["rendition"].update(values)


def exif(**values: Any) -> Callable[[dict[str, Any], list[bytes]], None]:
    return lambda answer, _: answer["rendition"]["exif"].update(values)


def header(**values: Any) -> Callable[[dict[str, Any], list[bytes]], None]:
    return lambda answer, _: answer["header"].update(values)


def whole(**values: Any) -> Callable[[dict[str, Any], list[bytes]], None]:
    return lambda answer, _: answer.update(values)


def script_in_place_of_a_picture(_: dict[str, Any], blobs: list[bytes]) -> None:
    blobs[0] = SCRIPT


def one_variant_twice(answer: dict[str, Any], blobs: list[bytes]) -> None:
    answer["rendition"]["variants"].append(answer["rendition"]["variants"][0])
    blobs.append(blobs[0])


def a_size_left_out(answer: dict[str, Any], blobs: list[bytes]) -> None:
    kept = [
        (v, b) for v, b in zip(answer["rendition"]["variants"], blobs, strict=True) if not v["name"].startswith("w48")
    ]
    answer["rendition"]["variants"] = [v for v, _ in kept]
    blobs[:] = [b for _, b in kept]


FORGED: dict[str, Callable[[dict[str, Any], list[bytes]], None]] = {
    "a path in a name": variant(name="../../../<script>"),
    "a name of another recipe": variant(name="w9999-jpeg"),
    "a name that is a number": variant(name=7),
    "a name that is a list": variant(name=["w48"]),
    "a format that browsers execute": variant(name="w48-svg+xml", format="svg+xml"),
    "a format that is not the name's": variant(format="html"),
    "a longer side than the recipe's": variant(width=4800),
    "a negative side": variant(height=-1),
    "frames of a still": variant(frames=3),
    "a field of its own": variant(content_type="text/html"),
    "an animation of a still picture": variant(name="w48-animated", format="webp"),
    "a script in place of a picture": script_in_place_of_a_picture,
    "one variant twice": one_variant_twice,
    "a size left out": a_size_left_out,
    "no variant": facts(variants=[]),
    "variants that are no list": facts(variants=7),
    "another size of the picture": facts(width=1),
    "a fact of its own": facts(owner="me"),
    "a script as placeholder": facts(placeholder="<script>"),
    "a long placeholder": facts(placeholder="A" * 100_000),
    "a colour that is none": facts(colour="url(//evil)", palette=["url(//evil)"]),
    "no colour": facts(palette=[]),
    "a hash that is none": facts(phash="z" * 16),
    "blurriness beyond all numbers": facts(blurriness=float("nan")),
    "a share of rows that the recipe does not accept": facts(decoded=0.5),
    "words for yes": facts(near_black="yes"),
    "a thousand notes": facts(notes=["x"] * 1000),
    "a long note": facts(notes=["x" * 100_000]),
    "EXIF of 300,000 bytes": exif(make="x" * 300_000),
    "a field that EXIF does not have": exif(password="x"),
    "a structure in EXIF": exif(model={"$ref": "x"}),
    "infinite exposure": exif(exposure_seconds=float("inf")),
    "a number of 1,000 digits": exif(iso=10**1000),
    "half a surrogate pair": exif(copyright="\ud800"),
    "a structure as a place": exif(gps={"latitude": {"x": 1}}),
    "a place with a name": exif(gps={"name": "home"}),
    "EXIF that is a list": facts(exif=["x"]),
    "another format of the source": header(format="svg"),
    "a side of the source beyond the limit": header(width=10**6),
    "a colour space that is a script": header(colour_space="<script>"),
    "a header with a field of its own": header(x=1),
    "no header": whole(header=None),
    "a header that is a list": whole(header=[1]),
    "peak memory that is a text": whole(peak_bytes="many"),
    "a state of its own": whole(status="READY"),
    "a reason of its own": whole(status="rejected", reason="HACKED", message="x"),
    "a reason of the bucket's": whole(status="rejected", reason=Reason.OBJECT_GONE, message="x"),
    "a message that is a structure": whole(status="rejected", reason=Reason.UNDECODABLE, message={"x": 1}),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_answer_is_a_fault_of_the_decoder(genuine: dict[str, Answer], name: str) -> None:
    answer, blobs = copy.deepcopy(genuine["jpeg-exif"])
    FORGED[name](answer, blobs)
    with pytest.raises(Faulty):
        understand(answer, blobs, question("jpeg-exif"))


def test_place_is_believed_only_if_the_recipe_asks_for_it(genuine: dict[str, Answer]) -> None:
    answer, blobs = copy.deepcopy(genuine["jpeg-exif"])
    answer["rendition"]["exif"]["gps"] = {"latitude": 1.0, "longitude": 2}
    understand(copy.deepcopy(answer), blobs, question("jpeg-exif"))
    with pytest.raises(Faulty, match="no field of EXIF"):
        understand(answer, blobs, question("jpeg-exif", Recipe(variants=RECIPE.variants)))


def test_words_of_a_refusal_are_one_line_without_control_characters(genuine: dict[str, Answer]) -> None:
    answer, _ = copy.deepcopy(genuine["jpeg-exif"])
    answer.update(status="rejected", reason=Reason.UNDECODABLE, message="broken\n\x1b[31mERROR\u202e" + "x" * 1000)
    with pytest.raises(Rejected) as raised:
        understand(answer, [], question("jpeg-exif"))
    assert raised.value.message.startswith("broken  [31mERROR x")
    assert len(raised.value.message) == 300


def forge(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Have the decoder answer with a script in place of a picture, so often."""
    plain, left = Process.render, [times]

    def render(process: Process, *arguments: Any) -> Answer:
        answer, blobs = plain(process, *arguments)
        if left[0]:
            left[0] -= 1
            answer["rendition"]["variants"][0].update(name="../../../<script>", format="svg+xml")
            blobs[0] = SCRIPT
        return answer, blobs

    monkeypatch.setattr(Process, "render", render)


def test_forged_answer_of_a_process_that_worked_before_costs_the_picture_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An earlier picture may have taken it over: a fresh process is asked."""
    data = bytes(seeds()["jpeg-exif"])
    with Sandbox(Limits()) as box:
        box.render(data, RECIPE)
        forge(monkeypatch, times=1)
        names = {variant.name for variant in box.render(data, RECIPE).rendition.variants}
    assert "w48-jpeg" in names
    assert "../../../<script>" not in names


def test_forged_answer_is_never_stored(
    environment: Environment, processor: Processor, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge(monkeypatch, times=-1)
    created = environment.event(environment.put("a.jpg", photo))
    with pytest.raises(Faulty, match="is no variant of the recipe"):
        processor.handle(created)
    assert environment.variants() == set()
    assert environment.record("a.jpg")["status"] == "PROCESSING"


def test_sizes_that_the_parent_expects_are_those_that_the_engine_makes() -> None:
    """Random recipes and pictures: what the check computes without a decoder is what comes out of one."""
    chance = random.Random(14)
    for _ in range(25):
        side = [chance.randint(1, 90), chance.randint(1, 90)]
        data = bytes(samples.landscape(*side, chance.randint(1, 9)).pngsave_buffer())
        specs = tuple(
            VariantSpec(
                width := chance.randint(16, 100),
                (Encoding("jpeg"),),
                height := chance.choice([None, chance.randint(16, 100)]),
                "inside" if height is None else chance.choice(FITS),
                chance.choice(CROPS),
                f"v{place}x{width}",
            )
            for place in range(chance.randint(1, 4))
        )
        recipe = Recipe(variants=specs)
        header = gate.inspect(data, Limits())
        rendition = engine.render(data, header, recipe)
        answers._check_variants(rendition.variants, header, recipe)
        assert {size.spec.name for size in sizes(*header.upright, recipe)} == {
            variant.name.partition("-")[0] for variant in rendition.variants
        }
