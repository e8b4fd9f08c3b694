"""The confined process: renders one image at a time for its parent.

It speaks over a SOCK_SEQPACKET pair. In: JSON with the recipe, and the image as a memfd. Out: JSON with the result, and
the variants one after the other in a memfd. `decoder.process.Process` starts it as
`python -m image_processor.decoder.worker <descriptor of the pair> <limits as JSON> <1 if HEIC is to be decoded>`.
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

from image_processor.decoder import confinement, engine, gate
from image_processor.recipe import Limits, Recipe
from image_processor.sniff import readable
from image_processor.verdict import Header, Reason, Rejected

#: Largest file that this process may write, in bytes: all variants of an image together.
OUTPUT_BYTES = 512 * 1024 * 1024

_MESSAGE_BYTES = 256 * 1024


def main() -> None:
    """Confine the process, then render images until the parent closes its end."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    limits = Limits.parse(sys.argv[2])
    with_heic = sys.argv[3] == "1"
    memory = _Memory()
    _warm_up(with_heic)
    held = confinement.confine(limits.max_memory_mb * 1_000_000, OUTPUT_BYTES)
    channel.send(json.dumps({"held": held}).encode())
    while True:
        message, descriptors, _, _ = socket.recv_fds(channel, _MESSAGE_BYTES, 1)
        if not message:
            return
        with open(descriptors[0], "rb") as file:
            data = readable(file.read())
        memory.reset()
        # If the parent is gone or stopped, nobody else watches the clock. SIGALRM ends the process.
        signal.setitimer(signal.ITIMER_REAL, 10 * limits.max_seconds)
        answer, variants = _process(data, json.loads(message), limits)
        signal.setitimer(signal.ITIMER_REAL, 0)
        answer["peak_bytes"] = memory.peak()
        _reply(channel, answer, variants)
        del data, variants


def _process(data: bytes, order: dict[str, Any], limits: Limits) -> tuple[dict[str, Any], list[bytes]]:
    header: Header | None = None
    pyvips.vips_lib.vips_error_clear()
    try:
        recipe = Recipe.parse(json.dumps(order["recipe"]))
        header = gate.inspect(data, limits)
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


def _reply(channel: socket.socket, answer: dict[str, Any], variants: list[bytes]) -> None:
    output = os.memfd_create("variants")
    try:
        for data in variants:
            view = memoryview(data)
            while view:
                view = view[os.write(output, view) :]
        answer["sizes"] = [len(data) for data in variants]
        socket.send_fds(channel, [json.dumps(answer).encode()], [output])
    finally:
        os.close(output)


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
