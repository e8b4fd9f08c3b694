"""A client of the pipeline's HTTP API. Every request is signed with the caller's credentials."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from image_processor.records.catalogue import MAX_LIMIT
from imagepipe.errors import PipelineError

Record = dict[str, Any]

#: Statuses that stay until the object changes again.
FINAL = frozenset({"READY", "REJECTED", "FAILED", "DELETED"})

#: The throttle of the API's stage answers 429; every other transient error is 5xx.
_RETRIES = urllib3.Retry(total=6, backoff_factor=0.2, status_forcelist=[429, 502, 503, 504], raise_on_status=False)


class ApiClient:
    """Calls the API of one environment.

    Raises:
        PipelineError: every method raises it, with the API's own words, for an answer that is not a success.
    """

    def __init__(self, url: str, region: str, credentials: Callable[[], Credentials], ca_bundle: str | None) -> None:
        self._url, self._region, self._credentials = url, region, credentials
        self._http = _pool(url, ca_bundle)
        self._downloads = urllib3.PoolManager(ca_certs=ca_bundle, retries=_RETRIES)

    def images(self, status: str | None = None, limit: int | None = None) -> Iterator[Record]:
        """Read records page by page, newest first, at most `limit` of them."""
        page_size = min(limit or MAX_LIMIT, MAX_LIMIT)
        parameters = {"limit": str(page_size), **({"status": status} if status else {})}
        count = 0
        while True:
            page = json.loads(_require_success(self._send("GET", f"/images?{urlencode(parameters)}")).data)
            for record in page["images"]:
                yield record
                count += 1
                if count == limit:
                    return
            if not page.get("cursor"):
                return
            parameters["cursor"] = page["cursor"]

    def image(self, image_id: str) -> Record | None:
        """Read the record of an image; None if the image does not exist or was removed."""
        answer = self._send("GET", f"/images/{image_id}")
        return None if answer.status in {404, 410} else json.loads(_require_success(answer).data)

    def variant(self, image_id: str, name: str) -> bytes:
        """Download one variant from the address that the API redirects to."""
        return _require_success(self._downloads.request("GET", self.address(image_id, name))).data

    def address(self, image_id: str, name: str) -> str:
        """Return the address that the API redirects to for a variant. It is valid for some minutes."""
        answer = self._send("GET", f"/images/{image_id}/variants/{name}")
        if answer.status != 302:
            _require_success(answer)
            raise PipelineError(f"the API answered {answer.status}, and must redirect to variant {name}")
        return answer.headers["Location"]

    def fetch(self, address: str) -> tuple[int, bytes]:
        """Return status and content of the answer to an address, as anybody gets them."""
        with _silence_explained(address):
            answer = self._downloads.request("GET", address, retries=False)
        return answer.status, answer.data

    def status_unsigned(self, method: str, path: str) -> int:
        """Return the status of the answer to a request that nobody signed."""
        headers = {"Host": urlsplit(self._url).netloc}
        with _silence_explained(self._url):
            return self._http.request(method, path, headers=headers, redirect=False, retries=False).status

    def remove(self, image_id: str) -> None:
        """Remove an image with all its variants."""
        _require_success(self._send("DELETE", f"/images/{image_id}"))

    def _send(self, method: str, path: str) -> urllib3.BaseHTTPResponse:
        request = AWSRequest(method=method, url=self._url + path, headers={"Host": urlsplit(self._url).netloc})
        SigV4Auth(self._credentials(), "execute-api", self._region).add_auth(request)
        headers = dict(request.headers.items())
        with _silence_explained(self._url):
            return self._http.request(method, path, headers=headers, redirect=False, retries=_RETRIES)


@contextmanager
def _silence_explained(url: str) -> Iterator[None]:
    """Turn the failure to get an answer into an error that says what to check."""
    try:
        yield
    except urllib3.exceptions.HTTPError as error:
        raise PipelineError(
            f"{urlsplit(url).netloc} does not answer ({error}): check ENV, CLOUD and the network"
        ) from None


def _pool(url: str, ca_bundle: str | None) -> urllib3.HTTPSConnectionPool:
    """Connect to the API. Names under .localhost mean the loopback address (RFC 6761, 6.3)."""
    host, port = urlsplit(url).hostname or "", urlsplit(url).port or 443
    address = "127.0.0.1" if host.endswith(".localhost") else host
    return urllib3.HTTPSConnectionPool(address, port, ca_certs=ca_bundle, server_hostname=host, assert_hostname=host)


def _require_success(answer: urllib3.BaseHTTPResponse) -> urllib3.BaseHTTPResponse:
    if 200 <= answer.status < 300:
        return answer
    try:
        problem = json.loads(answer.data)
        detail = problem.get("detail") or problem.get("title") or problem.get("message")
    except ValueError:
        detail = answer.data[:200].decode(errors="replace")
    if (answer.status, detail) == (403, "Forbidden"):  # API Gateway's words; ours name a reason
        detail += (
            ": credentials need the permission execute-api:Invoke on this API, which the roles of workflows have once "
            "an administrator has applied ci-access after the API, and a clock within 5 minutes"
        )
    raise PipelineError(f"the API answered {answer.status}: {detail}")
