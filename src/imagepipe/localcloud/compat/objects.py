"""Objects in S3."""

import functools
import http
import re
from typing import Any
from xml.sax.saxutils import unescape

from ministack.services import s3


def encode_keys_of_listed_versions() -> None:
    """Encode keys in ListObjectVersions if the request has `encoding-type=url`.

    Upstream ignores that parameter there. Clients send it and decode the answer, so "+" in a key becomes a space, and
    Terraform's `force_destroy` tries for ever to delete a key that does not exist. A key with a control character makes
    the answer invalid XML.
    """
    list_versions = s3._list_object_versions
    encoded = re.compile(rb"(<(Delimiter|Key|KeyMarker|NextKeyMarker|Prefix)>)([^<]*)(?=</\2>)")

    def encode(element: re.Match[bytes]) -> bytes:
        return element[1] + str(s3._url_encode(unescape(element[3].decode()))).encode()

    @functools.wraps(list_versions)
    def list_encoded(bucket_name: str, query_params: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        status, headers, body = list_versions(bucket_name, query_params)
        if status != http.HTTPStatus.OK or s3._qp(query_params, "encoding-type", "") != "url":
            return status, headers, body
        # Not by an XML parser: it refuses control characters, which a key may contain.
        body = encoded.sub(encode, body)
        return status, headers, body.replace(b"<IsTruncated>", b"<EncodingType>url</EncodingType><IsTruncated>", 1)

    s3._list_object_versions = list_encoded
