"""A real registry beside the emulated ECR API: Debian's `docker-registry`, on loopback, for one clone's images.

The emulator would keep pushed images in memory and in JSON, tens of megabytes each. So images live here, and the
emulator only knows their names and digests. The registry starts at the first push or pull and stops with the rest.
"""

import shutil
import urllib.error
import urllib.request
from pathlib import Path

from imagepipe.errors import PipelineError
from imagepipe.localcloud import addresses
from imagepipe.localcloud.addresses import LOOPBACK
from imagepipe.localcloud.folder import Folder
from imagepipe.localcloud.process import Detached, await_answer

PROGRAMS = ("docker-registry", "registry")


def up(root: Path) -> str:
    """Start the registry unless it runs; return its `host:port`.

    Raises:
        PipelineError: no registry program is installed, or it does not start.
    """
    folder = Folder(root.resolve())
    process = _process(folder)
    port = process.port()
    if port is None or process.process() is None or not _answers(port):
        process.stop()
        port = _start(folder, process)
    return f"{LOOPBACK}:{port}"


def down(folder: Folder) -> None:
    """Stop the registry; its images are kept."""
    _process(folder).stop()


def _start(folder: Folder, process: Detached) -> int:
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        raise PipelineError(
            "a push on the local cloud needs a registry program: install one (Debian: apt install docker-registry)"
        )
    folder.create()
    with addresses.listening_socket() as free:
        port = int(free.getsockname()[1])
    settings = folder.path / "registry.yml"
    settings.write_text(
        "version: 0.1\n"
        "log: {level: warn}\n"
        f"storage: {{filesystem: {{rootdirectory: '{folder.path / 'registry'}'}}, delete: {{enabled: true}}}}\n"
        f"http: {{addr: '{LOOPBACK}:{port}'}}\n"
    )
    process.start([program, "serve", str(settings)], {"HOME": str(folder.temporary)}, port, "")
    await_answer(process, lambda: _answers(port))
    return port


def _process(folder: Folder) -> Detached:
    return Detached("registry", folder.process_record("registry"), folder.process_log("registry"))


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/v2/", timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
