"""Objects in S3."""

import functools
import http
import re
from typing import Any
from xml.sax.saxutils import unescape

from ministack.services import s3


def encode_keys_of_listed_versions() -> None:
    """ListObjectVersions honours `encoding-type=url`.

    Upstream ignores it there; clients ask for it and decode, so a key with "+" comes out with a space, and Terraform's
    `force_destroy` deletes a key that does not exist for ever; one with a control character is not even XML.
    """
    list_versions = s3._list_object_versions
    encoded = re.compile(rb"(<(Delimiter|Key|KeyMarker|NextKeyMarker|Prefix)>)([^<]*)(?=</\2>)")

    def encode(found: re.Match[bytes]) -> bytes:
        return found[1] + str(s3._url_encode(unescape(found[3].decode()))).encode()

    @functools.wraps(list_versions)
    def list_encoded(bucket_name: str, query_params: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        status, headers, body = list_versions(bucket_name, query_params)
        if status != http.HTTPStatus.OK or s3._qp(query_params, "encoding-type", "") != "url":
            return status, headers, body
        # Not by a parser: XML has no control characters, and a key may.
        body = encoded.sub(encode, body)
        return status, headers, body.replace(b"<IsTruncated>", b"<EncodingType>url</EncodingType><IsTruncated>", 1)

    s3._list_object_versions = list_encoded
