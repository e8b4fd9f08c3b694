"""Sizes that a recipe makes of an image. Without a decoder: who checks the decoder's answers needs them as well."""

from dataclasses import dataclass

from image_processor.recipe import Recipe, VariantSpec

#: Pictures narrower than this are shrunk in linear light, because plain averages visibly darken fine detail there.
#: Above, plain values cost a seventh: libvips has vector code for 8 bits only (`make bench-frontier` shows both).
LINEAR_BELOW = 1280


@dataclass(frozen=True)
class Size:
    """A variant's size for one image: what it is scaled to, and the box it is then cropped or padded to."""

    spec: VariantSpec
    width: int
    height: int
    box: tuple[int, int]


def sizes(width: int, height: int, recipe: Recipe) -> list[Size]:
    """Return the sizes, largest first. Nothing is enlarged: a box larger than the source shrinks and keeps its shape.

    Of plain widths those above the source's are not made; where the source ends between two rungs, the rung above
    holds the source at its own width, so that the widest always is the best there is.
    """
    plain = sorted((spec for spec in recipe.variants if spec.height is None), key=lambda spec: spec.width)
    fitting = [spec for spec in plain if spec.width <= width]
    above = [spec for spec in plain if spec.width > width][:1]
    if fitting and fitting[-1].width == width:
        above = []
    result = [_scaled(spec, min(spec.width, width) / width, width, height) for spec in fitting + above]
    for spec in recipe.variants:
        if spec.height is not None:
            result.append(_boxed(spec, spec.height, width, height))
    return sorted(result, key=lambda size: size.width, reverse=True)


def top(width: int, height: int, wanted: list[Size]) -> tuple[int, int]:
    """Return the size to decode to: that of the largest variant, but large enough to shrink from in linear light."""
    scale = max(wanted[0].width, min(width, LINEAR_BELOW)) / width
    return max(1, round(width * scale)), max(1, round(height * scale))


def _scaled(spec: VariantSpec, scale: float, width: int, height: int) -> Size:
    scaled = (max(1, round(width * scale)), max(1, round(height * scale)))
    return Size(spec, *scaled, scaled)


def _boxed(spec: VariantSpec, box_height: int, width: int, height: int) -> Size:
    across, down = spec.width / width, box_height / height
    scale = min(1.0, max(across, down) if spec.fit == "cover" else min(across, down))
    size = _scaled(spec, scale, width, height)
    if spec.fit == "inside":
        return size
    if spec.fit == "contain":
        return Size(spec, size.width, size.height, (spec.width, box_height))
    shrink = min(1.0, width / spec.width, height / box_height)
    box = (min(max(1, round(spec.width * shrink)), size.width), min(max(1, round(box_height * shrink)), size.height))
    return Size(spec, size.width, size.height, box)
