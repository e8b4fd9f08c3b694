"""The confined process: renders one image at a time for its parent.

It speaks over a SOCK_SEQPACKET pair. In: JSON with the recipe; the image is in a shared file. Out: JSON with the
result; the variants are in another shared file, one after the other. `decoder.process.Process` starts it as
`python -m image_processor.decoder.worker <channel> <image> <variants> <limits as JSON> <1 if HEIC is to be decoded>`;
the first three are descriptors. After it is confined it can open no others.
"""

import json
import os
import re
import signal
import socket
import sys
from dataclasses import asdict, replace
from typing import Any

import pyvips

from image_processor.decoder import confinement, engine, gate, seccomp, shared_files
from image_processor.recipe import Limits, Recipe
from image_processor.sniff import readable
from image_processor.verdict import Header, Reason, Rejected

_MESSAGE_BYTES = 256 * 1024


def main() -> None:
    """Confine the process, then render images until the parent closes its end."""
    seccomp.drop_capabilities()  # root could lift limits again; before any thread starts, which would keep them
    channel = socket.socket(fileno=int(sys.argv[1]))
    image, output = int(sys.argv[2]), int(sys.argv[3])
    limits = Limits.parse(sys.argv[4])
    with_heic = sys.argv[5] == "1"
    memory = _Memory()
    _warm_up(with_heic)
    held = confinement.confine(limits.max_memory_mb * 1_000_000, shared_files.OUTPUT_BYTES)
    channel.send(json.dumps({"held": held}).encode())
    while message := channel.recv(_MESSAGE_BYTES):
        order = json.loads(message)
        (data,) = shared_files.read(image, [order["bytes"]])
        memory.reset()
        # If the parent is gone or stopped, nobody else watches the clock. SIGALRM ends the process.
        signal.setitimer(signal.ITIMER_REAL, 10 * limits.max_seconds)
        answer, variants = _process(data, order, limits)
        signal.setitimer(signal.ITIMER_REAL, 0)
        answer["peak_bytes"] = memory.peak()
        answer["sizes"] = [len(variant) for variant in variants]
        shared_files.write(output, variants)
        channel.send(json.dumps(answer).encode())
        del data, variants


def _process(data: bytes, order: dict[str, Any], limits: Limits) -> tuple[dict[str, Any], list[bytes]]:
    header: Header | None = None
    pyvips.vips_lib.vips_error_clear()
    try:
        recipe = Recipe.parse(json.dumps(order["recipe"]))
        header = gate.inspect(data, limits)
        data = readable(data)
        if header.format == "heic":
            from image_processor.decoder import heic

            data = heic.to_png(data)
        threads = int(os.environ.get("VIPS_CONCURRENCY", "0")) or None
        memory = gate.memory_for_encoders(limits)
        rendition = engine.render(
            data, header, recipe, focal_point=order["focal_point"], threads=threads, memory=memory
        )
    except Rejected as rejected:
        answer = {"status": "rejected", "reason": rejected.reason, "message": rejected.message}
    except UnicodeDecodeError:
        # The library quotes bytes in its message, and pyvips cannot read it. In a process that worked before, the bytes
        # may be an earlier picture's: the parent asks a fresh process.
        message = "the bytes are so broken that the error is unreadable"
        answer = {"status": "rejected", "reason": Reason.UNDECODABLE, "message": message}
    except MemoryError:
        answer = {"status": "rejected", "reason": Reason.OUT_OF_MEMORY, "message": "no memory left to decode it"}
    except Exception as error:  # a fault of ours: the parent decides whether to try again
        answer = {"status": "failed", "message": f"{type(error).__name__}: {error}"[:1000]}
    else:
        variants = [variant.data for variant in rendition.variants]
        bare = replace(rendition, variants=[replace(variant, data=b"") for variant in rendition.variants])
        fields = asdict(bare)
        for variant in fields["variants"]:
            del variant["data"]
        return {"status": "ready", "header": asdict(header), "rendition": fields}, variants
    return {**answer, "header": asdict(header) if header else None}, []


def _warm_up(with_heic: bool) -> None:
    """Load everything that opens files before opening is forbidden: lazy imports, and the codecs' first use."""
    picture = (pyvips.Image.black(32, 32, bands=3) + 128).cast("uchar").copy(interpretation="srgb")
    seed = bytes(picture.jpegsave_buffer())
    engine.render(seed, gate.inspect(seed, Limits()), Recipe())
    if with_heic:
        from image_processor.decoder import heic

        heic.load_decoder()


class _Memory:
    """Peak resident memory of one image from /proc, whose files are opened while that is still allowed."""

    def __init__(self) -> None:
        self._status = os.open("/proc/self/status", os.O_RDONLY)
        try:
            self._clear: int | None = os.open("/proc/self/clear_refs", os.O_WRONLY)
        except OSError:  # a kernel that cannot reset the peak: it stays that of the whole process
            self._clear = None

    def reset(self) -> None:
        if self._clear is not None:
            os.pwrite(self._clear, b"5", 0)

    def peak(self) -> int:
        peak = re.search(rb"VmHWM:\s+(\d+) kB", os.pread(self._status, 4096, 0))
        return int(peak[1]) * 1024 if peak else 0


if __name__ == "__main__":
    main()
