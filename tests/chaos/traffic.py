"""What happens to the upload bucket: several writers, hot keys, strange keys, files that are no images."""

import hashlib
import io
import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from chaos.cloud import Deployment

WRITERS = 4

STRANGE = (
    "a b+c&d=e%20f.jpg", "日本語 été.png", "quote\"s [bold]and 'more'.webp", "//double//slash//", "content#" + "a" * 64,
    "0" * 32 + "/0055aed6dcd9/w16-webp.webp", "e\u0301te\u0301.png", "\u00e9t\u00e9.png", "k" * 1024, ".", "reprocess",
    "two\r\nlines.png", "control\x01\x1b[2J.png",
)  # fmt: skip

#: Bytes that a key may have: longer ones are cut.
LONGEST_KEY = 1024


@dataclass(frozen=True)
class Content:
    """A file and what must become of it."""

    data: bytes
    colour: tuple[int, int, int] | None  # of an image: what every variant of it must look like
    reason: str | None = None  # otherwise: why it is rejected


def _image(colour: tuple[int, int, int], comment: str = "") -> Content:
    """One colour all over; a comment makes it another content."""
    buffer, info = io.BytesIO(), PngInfo()
    info.add_text("Comment", comment)
    Image.new("RGB", (20, 20), colour).save(buffer, "PNG", pnginfo=info)
    return Content(buffer.getvalue(), colour)


COLOURS = [(60 * (number % 4) + 30, 60 * (number // 4) + 30, 120) for number in range(12)]
#: What is uploaded under many keys.
CONTENTS = [
    *(_image(colour) for colour in COLOURS[:4]),
    Content(b"", None, "EMPTY"),
    Content(b"no image at all", None, "NOT_AN_IMAGE"),
    Content(b"%PDF-1.4 a letter", None, "UNSUPPORTED_FORMAT"),
]


class Traffic:
    """A seed's sequence of operations, done by several writers at once."""

    def __init__(self, deployment: Deployment, seed: int, events: int) -> None:
        self._s3, self._bucket = deployment.cloud.client("s3"), deployment.uploads
        self._seed, self._events = seed, events
        # Of the seed: so are the ids of the images then, and the faults that they meet.
        self.prefix = prefix = f"{seed}/"
        count = max(6, events // 8)
        names = [STRANGE[n] if n < len(STRANGE) else f"{n}.png" for n in range(count)]
        self.keys = [(prefix + name)[:LONGEST_KEY] for name in names]
        self.done: Counter[str] = Counter()
        self._lock = threading.Lock()
        #: Everything that may lie in the bucket, by sha256.
        self.contents = {hashlib.sha256(content.data).hexdigest(): content for content in CONTENTS}

    def run(self) -> None:
        """Returns when everything has happened; every operation is one event of S3, sometimes none."""
        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(self._write, range(WRITERS)))

    def _write(self, writer: int) -> None:
        dice = random.Random(f"{self._seed}/{writer}")
        for _ in range(self._events // WRITERS):
            # Every turn takes the same numbers from the dice, whatever is in the bucket then.
            # A tenth of the keys gets a third of what happens.
            hot = dice.random() < 0.33
            key = dice.choice(self.keys[: max(2, len(self.keys) // 10)] if hot else self.keys)
            kind = dice.choices(("upload", "remove", "remove version", "unremove"), (75, 17, 5, 3))[0]
            content = dice.choice(CONTENTS)
            if dice.random() < 0.5:
                content = _image(dice.choice(COLOURS), dice.randbytes(8).hex())
            self._do(kind, key, content, dice.random())
            with self._lock:
                self.done[kind] += 1

    def _do(self, kind: str, key: str, content: Content, share: float) -> None:
        """`share`, from 0 to below 1, chooses among the versions that there are."""
        if kind == "upload":
            self.contents[hashlib.sha256(content.data).hexdigest()] = content
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=content.data)
        elif kind == "remove":
            self._s3.delete_object(Bucket=self._bucket, Key=key)
        else:
            kept = versions_of(self._s3, self._bucket, key)
            chosen = [version for version in kept if version["marker"] == (kind == "unremove")]
            if chosen:
                self._s3.delete_object(Bucket=self._bucket, Key=key, VersionId=chosen[int(share * len(chosen))]["id"])


def versions_of(s3: Any, bucket: str, key: str) -> list[dict[str, Any]]:
    page = s3.list_object_versions(Bucket=bucket, Prefix=key)
    return [
        {"id": entry["VersionId"], "latest": entry["IsLatest"], "marker": marker}
        for kind, marker in (("Versions", False), ("DeleteMarkers", True))
        for entry in page.get(kind, [])
        if entry["Key"] == key
    ]
