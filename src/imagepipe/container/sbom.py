"""Lists what an image contains, as CycloneDX (https://cyclonedx.org): Debian packages, wheels, libraries in wheels.

It reads the layers of the image, so it lists what ships, not what was requested.
"""

import csv
import hashlib
import io
import re
import tarfile
from datetime import UTC, datetime
from email.parser import HeaderParser
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from debian.deb822 import Deb822
from packageurl import PackageURL

from imagepipe.container.layout import Layout

MEDIA_TYPE = "application/vnd.cyclonedx+json"

#: Words in a shared object that show what is linked into it, and the version. Wheels keep no better record.
_LINKED = {
    "aws-lambda-cpp": rb"/aws-lambda-cpp-(\d[\d.]*\d)/",
    "curl": rb"CLIENT libcurl (\d[\d.]*\d)",
    "expat": rb"EXPAT_ENTROPY_DEBUG",
    "freetype": rb"FREETYPE_PROPERTIES",
    "glib": rb"GLib \(gthread-posix\.c\)",
    "harfbuzz": rb"HB_SHAPER_LIST",
    "libaom": rb"AOMedia Project AV1 Encoder v(\d[\d.]*\d)",
    "libarchive": rb"libarchive (\d[\d.]*\d)",
    "libjpeg-turbo": rb"libjpeg-turbo version (\d[\d.]*\d)",
    "libtiff": rb"LIBTIFF, Version (\d[\d.]*\d)",
    "mozjpeg": rb"mozjpeg version (\d[\d.]*\d)",
    "openssl": rb"OpenSSL (\d+\.\d+\.\d+)",
    "pango": rb"PANGO_IS_CONTEXT",
    "pixman": rb"PIXMAN_DISABLE",
    "x265": rb"x265 \[info\]: HEVC encoder version (\d[\d.+]*\d)",
    "zlib-ng": rb"\d\.zlib-ng",
}
#: What libvips says about its own build, as in "GIF save with cgif: true". It names no version.
_BUILT_WITH = rb" with ([A-Za-z][\w.-]*): true"


def describe(image: Layout) -> bytes:
    """Return the bill of materials of an image. The same image gives the same bytes."""
    config = image.config
    root = Component(
        type=ComponentType.CONTAINER,
        name=config["config"]["Labels"]["org.opencontainers.image.title"],
        version=image.digest,
        bom_ref=image.digest,
        properties=[Property(name=name, value=value) for name, value in config["config"]["Labels"].items()],
    )
    components = [component for layer in image.layers() for component in _components(layer.tar)]
    bom = Bom(
        components=components,
        serial_number=uuid5(NAMESPACE_URL, image.digest),
        metadata=BomMetaData(component=root, timestamp=datetime.fromisoformat(config["created"]).astimezone(UTC)),
    )
    bom.register_dependency(root, components)
    return JsonV1Dot6(bom).output_as_string(indent=1).encode()


def versions(bom: dict[str, object]) -> dict[str, str]:
    """Return versions by package, to compare two bills of materials.

    Args:
        bom: a bill of materials as JSON.
    """
    result = {}
    components = bom.get("components", [])
    assert isinstance(components, list)
    for component in components:
        for part in (component, *component.get("components", [])):
            result[f"{part.get('group', '')}{part['name']}"] = part.get("version", "")
    return result


def _components(tar: bytes) -> list[Component]:
    components: list[Component] = []
    objects: list[tuple[str, bytes]] = []
    owners: dict[str, Component] = {}
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            if not member.isfile():
                continue
            if re.fullmatch(r"var/lib/dpkg/status(\.d/[^/]+)?", name):
                components += _debian(_content(archive, member).decode())
            elif re.fullmatch(r"var/task/[^/]+\.dist-info/METADATA", name):
                wheel = _wheel(_content(archive, member).decode())
                record = archive.extractfile(name.replace("METADATA", "RECORD"))
                assert record is not None
                owners |= {f"var/task/{path}": wheel for path, *_ in csv.reader(io.TextIOWrapper(record))}
                components.append(wheel)
            elif re.fullmatch(r"var/task/.+\.so(\.[\d.]+)?", name):
                objects.append((name, _content(archive, member)))
    for name, content in objects:
        owners[name].components.update(_linked_libraries(name, content))
    return components


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None
    return file.read()


def _debian(status: str) -> list[Component]:
    return [
        Component(
            type=ComponentType.LIBRARY,
            name=package["Package"],
            version=package["Version"],
            bom_ref=f"deb:{package['Package']}",
            purl=PackageURL("deb", "debian", package["Package"], package["Version"], {"arch": package["Architecture"]}),
        )
        for package in Deb822.iter_paragraphs(status)
        if "Package" in package and "Version" in package
    ]


def _wheel(metadata: str) -> Component:
    fields = HeaderParser().parsestr(metadata)
    name, version = fields["Name"], fields["Version"]
    licence = fields["License-Expression"] or fields["License"] or ""
    return Component(
        type=ComponentType.LIBRARY,
        name=name,
        version=version,
        bom_ref=f"pypi:{name}",
        licenses=[DisjunctiveLicense(name=licence.splitlines()[0][:100])] if licence.strip() else None,
        purl=PackageURL("pypi", None, name.lower().replace("_", "-"), version),
    )


def _linked_libraries(name: str, content: bytes) -> list[Component]:
    file = Component(
        type=ComponentType.FILE,
        name=name.rsplit("/", 1)[1],
        bom_ref=f"file:{name}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=hashlib.sha256(content).hexdigest())],
    )
    matches = {library: re.search(words, content) for library, words in _LINKED.items()}
    versions = {library: match[1].decode() if match.re.groups else None for library, match in matches.items() if match}
    if b"vips_init" in content:
        versions = dict.fromkeys(match.decode() for match in re.findall(_BUILT_WITH, content)) | versions
    linked = [
        Component(
            type=ComponentType.LIBRARY,
            name=library,
            version=version,
            bom_ref=f"linked:{library}:{name}",
            purl=PackageURL("generic", None, library, version),
        )
        for library, version in versions.items()
    ]
    return [file, *linked]
