"""Paths of a clone's local cloud. All are under `<root>/.local`; removing that folder resets the local cloud."""

from dataclasses import dataclass
from pathlib import Path

LARGE_LOG_BYTES = 20_000_000


@dataclass(frozen=True)
class Folder:
    """Paths of the local cloud of the clone at `root`."""

    root: Path

    @property
    def path(self) -> Path:
        """Folder that holds everything."""
        return self.root / ".local"

    @property
    def lock(self) -> Path:
        """File that a command locks while it starts or stops processes."""
        return self.path / "lock"

    @property
    def addresses(self) -> Path:
        """File with the port that the emulator's records (queue URLs, API endpoints) contain."""
        return self.path / "addresses.json"

    @property
    def certificate(self) -> Path:
        """Certificate of the server, and of the authority that signed it: clients trust this file."""
        return self.path / "tls" / "certificate.pem"

    @property
    def private_key(self) -> Path:
        """Private key of the server's certificate."""
        return self.path / "tls" / "key.pem"

    @property
    def state(self) -> Path:
        """Records of the emulator, one JSON file per service."""
        return self.path / "state"

    @property
    def objects(self) -> Path:
        """Content of the S3 buckets."""
        return self.path / "objects"

    @property
    def temporary(self) -> Path:
        """Temporary files of the processes, and their home folder."""
        return self.path / "tmp"

    @property
    def function_log(self) -> Path:
        """Log lines of all functions in all accounts, for people."""
        return self.path / "logs" / "functions.log"

    @property
    def function_source(self) -> Path:
        """Source tree that stands in for the image's LAMBDA_TASK_ROOT."""
        return self.root / "lambda-image" / "src"

    @property
    def images(self) -> Path:
        """Unpacked images that functions can run from, by digest."""
        return self.path / "images"

    @property
    def runs_images(self) -> Path:
        """Marker file: functions run from the image of their digest instead of the source tree."""
        return self.path / "functions-from-image"

    def process_record(self, name: str) -> Path:
        """Return the file with the id and port of a process."""
        return self.path / "run" / f"{name}.json"

    def process_log(self, name: str) -> Path:
        """Return the file that a process writes its output to."""
        return self.path / "logs" / f"{name}.log"

    def trim_logs(self) -> None:
        """Rename large logs to `.log.old`. Call it only while no process writes to them."""
        for log in (self.path / "logs").glob("*.log"):
            if log.stat().st_size > LARGE_LOG_BYTES:
                log.replace(log.with_suffix(".log.old"))

    def create(self) -> None:
        """Create the folders, readable by their owner only: the state holds secrets such as session tokens."""
        self.path.mkdir(mode=0o700, exist_ok=True)
        for part in ("logs", "objects", "run", "state", "tls", "tmp"):
            (self.path / part).mkdir(exist_ok=True)
