"""What is in an image, as CycloneDX (https://cyclonedx.org): Debian's packages, wheels, libraries inside wheels.

Read from the image's own layers, so that it tells of what ships and not of what was asked for.
"""

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

from imagepipe.image.layout import Layout

MEDIA_TYPE = "application/vnd.cyclonedx+json"

#: A wheel's shared object tells by such words what was linked into it; there is no better record of it in the wheel.
_LINKED = {
    "libaom": rb"AOMedia Project AV1 Encoder v(\d[\d.]*\d)",
    "libarchive": rb"libarchive (\d[\d.]*\d)",
    "libde265": rb"libde265[ -]v?(\d+\.\d+\.\d+)",
    "libpng": rb"libpng version (\d[\d.]*\d)",
    "mozjpeg": rb"mozjpeg version (\d[\d.]*\d)",
    "openssl": rb"OpenSSL (\d+\.\d+\.\d+)",
    "x265": rb"x265 \[info\]: HEVC encoder version (\d[\d.+]*\d)",
}


def describe(image: Layout) -> bytes:
    """The bill of materials of an image; the same image gives the same bytes."""
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
    """Package URL without its version → version, of a bill of materials as JSON; to compare two of them."""
    found = {}
    components = bom.get("components", [])
    assert isinstance(components, list)
    for component in components:
        for part in (component, *component.get("components", [])):
            found[f"{part.get('group', '')}{part['name']}"] = part.get("version", "")
    return found


def _components(tar: bytes) -> list[Component]:
    found: list[Component] = []
    objects: list[tuple[str, bytes]] = []
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            if not member.isfile():
                continue
            if re.fullmatch(r"var/lib/dpkg/status(\.d/[^/]+)?", name):
                found += _debian(_content(archive, member).decode())
            elif re.fullmatch(r"var/task/[^/]+\.dist-info/METADATA", name):
                found.append(_wheel(_content(archive, member).decode()))
            elif re.fullmatch(r"var/task/.+\.so(\.[\d.]+)?", name):
                objects.append((name, _content(archive, member)))
    for name, content in objects:
        _owner(name, found).components.update(_linked(name, content))
    return found


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


def _owner(name: str, components: list[Component]) -> Component:
    """The wheel that a shared object came with, by the first part of its path."""
    top = name.split("/")[2].split(".")[0].lstrip("_").lower().replace("-", "_")
    wheels = {
        str(each.name).lower().replace("-", "_"): each for each in components if str(each.bom_ref).startswith("pypi:")
    }
    other = {"libvips": "pyvips_binary", "cffi_backend": "cffi", "runtime_client": "awslambdaric"}
    return wheels.get(top) or wheels.get(other.get(top, "")) or components[0]


def _linked(name: str, content: bytes) -> list[Component]:
    file = Component(
        type=ComponentType.FILE,
        name=name.rsplit("/", 1)[1],
        bom_ref=f"file:{name}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=hashlib.sha256(content).hexdigest())],
    )
    linked = [
        Component(
            type=ComponentType.LIBRARY,
            name=library,
            version=match[1].decode(),
            bom_ref=f"linked:{library}:{name}",
            purl=PackageURL("generic", None, library, match[1].decode()),
        )
        for library, words in _LINKED.items()
        if (match := re.search(words, content))
    ]
    return [file, *linked]
