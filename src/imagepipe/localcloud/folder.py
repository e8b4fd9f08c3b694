"""Where a clone keeps its local cloud: everything under `<root>/.local`, so that removing it begins afresh."""

from dataclasses import dataclass
from pathlib import Path

LARGE_LOG_BYTES = 20_000_000


@dataclass(frozen=True)
class Folder:
    root: Path

    @property
    def path(self) -> Path:
        return self.root / ".local"

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def addresses(self) -> Path:
        """The port that the emulator's own records (queue URLs, API endpoints) are written with."""
        return self.path / "addresses.json"

    @property
    def certificate(self) -> Path:
        """Both what the server shows and what clients trust: it is self-signed."""
        return self.path / "tls" / "certificate.pem"

    @property
    def private_key(self) -> Path:
        return self.path / "tls" / "key.pem"

    @property
    def state(self) -> Path:
        """Every service's records, one JSON file per service."""
        return self.path / "state"

    @property
    def objects(self) -> Path:
        """What lies in the S3 buckets."""
        return self.path / "objects"

    @property
    def temporary(self) -> Path:
        return self.path / "tmp"

    @property
    def function_log(self) -> Path:
        """Every line that functions write, of all accounts, for people."""
        return self.path / "logs" / "functions.log"

    @property
    def function_source(self) -> Path:
        """What is LAMBDA_TASK_ROOT in the image."""
        return self.root / "lambda-image" / "src"

    @property
    def images(self) -> Path:
        """Images that functions may run from, unpacked, by digest."""
        return self.path / "images"

    @property
    def runs_images(self) -> Path:
        """There when functions run from the image that their digest names, and not from the source tree."""
        return self.path / "functions-from-image"

    def process_record(self, name: str) -> Path:
        return self.path / "run" / f"{name}.json"

    def process_log(self, name: str) -> Path:
        return self.path / "logs" / f"{name}.log"

    def trim_logs(self) -> None:
        """Sets logs aside that have grown large; only while nothing writes to them."""
        for log in (self.path / "logs").glob("*.log"):
            if log.stat().st_size > LARGE_LOG_BYTES:
                log.replace(log.with_suffix(".log.old"))

    def create(self) -> None:
        """Readable by its owner only: the state holds secrets such as session tokens."""
        self.path.mkdir(mode=0o700, exist_ok=True)
        for part in ("logs", "objects", "run", "state", "tls", "tmp"):
            (self.path / part).mkdir(exist_ok=True)
