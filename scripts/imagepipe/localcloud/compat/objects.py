"""Objects in S3."""

import functools
import http
from typing import Any
from xml.etree import ElementTree

from ministack.services import s3


def encode_keys_of_listed_versions() -> None:
    """ListObjectVersions honours `encoding-type=url`.

    Upstream ignores it there; clients ask for it and decode, so a key with "+" comes out with a space, and Terraform's
    `force_destroy` deletes a key that does not exist for ever.
    """
    list_versions = s3._list_object_versions
    encoded = ("Delimiter", "Key", "KeyMarker", "NextKeyMarker", "Prefix")

    @functools.wraps(list_versions)
    def list_encoded(bucket_name: str, query_params: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        status, headers, body = list_versions(bucket_name, query_params)
        if status != http.HTTPStatus.OK or s3._qp(query_params, "encoding-type", "") != "url":
            return status, headers, body
        root = ElementTree.fromstring(body)  # noqa: S314  it is the emulator's own
        namespace = f"{{{s3.S3_NS}}}"
        for element in root.iter():
            if element.tag.removeprefix(namespace) in encoded and element.text:
                element.text = s3._url_encode(element.text)
        ElementTree.SubElement(root, f"{namespace}EncodingType").text = "url"
        ElementTree.register_namespace("", s3.S3_NS)
        return status, headers, ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)

    s3._list_object_versions = list_encoded
