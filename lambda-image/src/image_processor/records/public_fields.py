"""The fields of a record that strangers may read.

They are an allow list: a field that is new stays inside until it is added here. Keys and buckets, hashes of the
original, messages of errors, and the time and place of a shot are not on it. Rights are: every variant carries them.
"""

from image_processor.records.items import Record
from image_processor.records.table import STATUSES

#: Statuses that strangers may list. A removed image is one that never was.
PUBLIC_STATUSES = tuple(status for status in STATUSES if status != "DELETED")

_FIELDS = ("image_id", "status", "created_at", "placeholder", "colour", "palette")

_PARTS = {
    "source": ("format", "width", "height"),
    "reason": ("code",),
    "exif": (
        *("make", "model", "lens", "exposure_seconds", "aperture", "iso", "focal_length_mm"),
        *("gain_map", "duration_ms", "loop"),
        *("copyright", "creator", "credit"),
    ),
}

_VARIANT = ("format", "content_type", "width", "height", "bytes", "frames")


def public(record: Record) -> Record:
    """Return the fields of a record that strangers may read."""
    view = _pick(record, _FIELDS)
    for name, fields in _PARTS.items():
        if part := _pick(record.get(name) or {}, fields):
            view[name] = part
    if variants := record.get("variants"):
        view["variants"] = {name: _pick(variant, _VARIANT) for name, variant in variants.items()}
    return view


def _pick(record: Record, names: tuple[str, ...]) -> Record:
    return {name: record[name] for name in names if name in record}
