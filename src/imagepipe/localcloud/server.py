"""The emulator's process: its command, its environment and its health."""

import http.client
import json
import os
import ssl
import sys
from pathlib import Path

from imagepipe.localcloud.addresses import LOOPBACK
from imagepipe.localcloud.folder import Folder

#: Region of requests without a signature, such as a browser's.
DEFAULT_REGION = "eu-west-1"


def command() -> list[str]:
    """Return the command that runs the emulator."""
    return [sys.executable, "-m", "imagepipe.localcloud.launcher"]


def environment(folder: Folder, port: int, function_host: str) -> dict[str, str]:
    """Return the whole environment of the emulator: the caller's AWS settings must not reach it."""
    return {
        **python_environment(folder),
        "AUTH": "true",
        "BIND_HOST": LOOPBACK,
        "GATEWAY_PORT": str(port),
        "MINISTACK_REGION": DEFAULT_REGION,
        "USE_SSL": "1",
        "MINISTACK_SSL_CERT": str(folder.certificate),
        "MINISTACK_SSL_KEY": str(folder.private_key),
        "PERSIST_STATE": "1",
        "STATE_DIR": str(folder.state),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(folder.objects),
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        # If it reached a Docker daemon, it would remove containers of other emulators at start.
        "DOCKER_HOST": f"unix://{folder.temporary}/no-docker.sock",
        "FUNCTION_HOST": function_host,
    }


def python_environment(folder: Folder) -> dict[str, str]:
    """Return the environment of our own Python processes, independent of the caller's shell."""
    return {
        "HOME": str(folder.temporary),
        "LANG": "C.UTF-8",
        "PATH": os.defpath,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(folder.temporary),
    }


def is_healthy(port: int, certificate: Path) -> bool:
    """Return whether our server answers: another program on the port does not have the certificate."""
    connection = http.client.HTTPSConnection(
        LOOPBACK, port, timeout=5, context=ssl.create_default_context(cafile=str(certificate))
    )
    return _answers(connection, "/_ministack/health")


def is_host_healthy(port: int) -> bool:
    """Return whether a function host answers on a port."""
    return _answers(http.client.HTTPConnection(LOOPBACK, port, timeout=5), "/health")


def _answers(connection: http.client.HTTPConnection, path: str) -> bool:
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        json.load(response)
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()
    return response.status == http.client.OK
