"""What happens to the upload bucket: several writers, hot keys, strange keys, files that are no images."""

import hashlib
import io
import itertools
import random
import struct
import threading
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from seeds import UNSPEAKABLE

from chaos.cloud import Deployment, Release

WRITERS = 4

#: `twice`: a new key gets two contents at once. `twins`: two keys get one, and the first may lose it at once.
KINDS = ("upload", "remove", "remove version", "unremove", "twice", "twins")

#: Of uploads. Each costs two starts of a decoder.
HOSTILE_SHARE = 0.06

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
    format: str = ""  # of what a release may leave out

    def refused_by(self, release: Release) -> str | None:
        """Why a release rejects it."""
        return "FORMAT_OFF" if self.format and self.format not in release.accepts else self.reason


def _image(colour: tuple[int, int, int], comment: str = "", kind: str = "PNG") -> Content:
    """One colour all over; a comment makes it another content."""
    buffer, info = io.BytesIO(), PngInfo()
    info.add_text("Comment", comment)
    options: dict[str, Any] = {"pnginfo": info} if kind == "PNG" else {"comment": comment.encode()}
    Image.new("RGB", (20, 20), colour).save(buffer, kind, **options)
    return Content(buffer.getvalue(), colour, format=kind.lower())


def _png(width: int, height: int, data: bytes) -> bytes:
    """A PNG with such a header, whatever its data."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", data),
        (b"IEND", b""),
    )
    bodies = (
        struct.pack(">I", len(text)) + kind + text + struct.pack(">I", zlib.crc32(kind + text)) for kind, text in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(bodies)


COLOURS = [(60 * (number % 4) + 30, 60 * (number // 4) + 30, 120) for number in range(12)]
_NOISE = random.Random(0).randbytes(64 * 64 * 3 + 64)
#: Files that only the decoder refuses. Good ones come before and after them in the same process.
HOSTILE = [
    Content(_png(64, 64, zlib.compress(_NOISE))[: 64 * 64], None, "TRUNCATED", "png"),
    Content(_png(20, 20, b"no deflate stream at all"), None, "UNDECODABLE", "png"),
    Content(_png(60_000, 60_000, zlib.compress(bytes(100))), None, "TOO_MANY_PIXELS", "png"),
    Content(UNSPEAKABLE, None, "UNDECODABLE", "heic"),
]
#: What is uploaded under many keys.
CONTENTS = [
    *(_image(colour) for colour in COLOURS[:4]),
    *(_image(colour, kind="GIF") for colour in COLOURS[4:6]),
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
        self._hot_and_cold = [(prefix + name)[:LONGEST_KEY] for name in names]
        #: Keys that are used once, for what only happens to new ones; of a writer each.
        turns = events // WRITERS
        fresh = [[f"{prefix}new/{writer}/{n}" for n in range(min(turns, turns // 4 + 8))] for writer in range(WRITERS)]
        self.keys = [*self._hot_and_cold, *itertools.chain.from_iterable(fresh)]
        self._fresh = fresh
        self.done: Counter[str] = Counter()
        self._lock = threading.Lock()
        #: Everything that may lie in the bucket, by sha256.
        self.contents = {hashlib.sha256(content.data).hexdigest(): content for content in (*CONTENTS, *HOSTILE)}

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
            keys = self._hot_and_cold
            key = dice.choice(keys[: max(2, len(keys) // 10)] if hot else keys)
            kind = dice.choices(KINDS, (61, 17, 5, 3, 8, 6))[0]
            content = dice.choice(CONTENTS)
            if dice.random() < 0.5:
                content = _image(dice.choice(COLOURS), dice.randbytes(8).hex(), dice.choice(("PNG", "PNG", "GIF")))
            if dice.random() < HOSTILE_SHARE:
                content = dice.choice(HOSTILE)
            self._do(kind, key, content, dice.random(), self._fresh[writer])
            with self._lock:
                self.done[kind] += 1

    def _do(self, kind: str, key: str, content: Content, share: float, fresh: list[str]) -> None:
        """`share`, from 0 to below 1, chooses among the versions that there are, or what becomes of a first twin."""
        if kind == "upload":
            self._upload(key, content)
        elif kind == "twice":
            new = fresh.pop()
            self._upload(new, CONTENTS[int(share * len(CONTENTS))])
            self._upload(new, content)
        elif kind == "twins":
            new = fresh.pop()
            self._upload(new, content)
            self._upload(key, content)
            if share < 0.3:
                self._s3.delete_object(Bucket=self._bucket, Key=new)
            elif share < 0.6:
                self._upload(new, CONTENTS[-1])
        elif kind == "remove":
            self._s3.delete_object(Bucket=self._bucket, Key=key)
        else:
            kept = versions_of(self._s3, self._bucket, key)
            chosen = [version for version in kept if version["marker"] == (kind == "unremove")]
            if chosen:
                self._s3.delete_object(Bucket=self._bucket, Key=key, VersionId=chosen[int(share * len(chosen))]["id"])

    def _upload(self, key: str, content: Content) -> None:
        self.contents[hashlib.sha256(content.data).hexdigest()] = content
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=content.data)


def versions_of(s3: Any, bucket: str, key: str) -> list[dict[str, Any]]:
    page = s3.list_object_versions(Bucket=bucket, Prefix=key)
    return [
        {"id": entry["VersionId"], "latest": entry["IsLatest"], "marker": marker}
        for kind, marker in (("Versions", False), ("DeleteMarkers", True))
        for entry in page.get(kind, [])
        if entry["Key"] == key
    ]
