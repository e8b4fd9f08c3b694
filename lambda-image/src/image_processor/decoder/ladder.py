"""The sizes that a recipe makes of an image, and how each is derived from a larger one."""

from dataclasses import dataclass

import pyvips

from image_processor.decoder import light
from image_processor.recipe import Recipe, VariantSpec

#: Pictures narrower than this are shrunk in linear light, because plain averages visibly darken fine detail there.
#: Above, plain values cost a seventh: libvips has vector code for 8 bits only (`make bench-frontier` shows both).
LINEAR_BELOW = 1280

#: A picture is shrunk from the smallest plain width larger by this factor; nearer ones have lost too much detail.
_FROM = 1.4

Point = tuple[float, float]


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


def pictures(
    top: pyvips.Image, wanted: list[Size], recipe: Recipe, focal_point: Point | None
) -> list[tuple[Size, pyvips.Image]]:
    """Scale every size, in memory; `top` is at least as large as the first of them."""
    plain, results = [top], []
    for size in wanted:
        source = min((p for p in plain if p.width >= _FROM * size.width), key=lambda p: p.width, default=top)
        picture = _shrink(source, size)
        if size.spec.height is None:
            plain.append(picture)
        results.append((size, _fit(picture, size, recipe, focal_point)))
    return results


def scale_frames(strip: pyvips.Image, frame_height: int, width: int, height: int) -> pyvips.Image:
    """Scale a strip of frames to a size in pixels, one by one, so that no frame bleeds into the next."""
    frames = [
        light.resize(strip.crop(0, top, strip.width, frame_height), width, height).copy_memory()
        for top in range(0, strip.height, frame_height)
    ]
    joined = pyvips.Image.arrayjoin(frames, across=1).copy()
    joined.set_type(pyvips.GValue.gint_type, "page-height", height)
    return joined


def _shrink(picture: pyvips.Image, size: Size) -> pyvips.Image:
    if (picture.width, picture.height) == (size.width, size.height):
        return picture
    linear = size.width < LINEAR_BELOW or picture.hasalpha()
    return (light.resize if linear else light.scale)(picture, size.width, size.height).copy_memory()


def _fit(picture: pyvips.Image, size: Size, recipe: Recipe, focal_point: Point | None) -> pyvips.Image:
    width, height = size.box
    if (picture.width, picture.height) == (width, height):
        return picture
    if size.spec.fit == "contain":
        colour = [*recipe.background_rgb, 255][: picture.bands]
        return picture.gravity("centre", width, height, extend="background", background=colour).copy_memory()
    if size.spec.crop == "attention":
        return picture.smartcrop(width, height, interesting="attention").copy_memory()
    x, y = focal_point if size.spec.crop == "focal" and focal_point else (0.5, 0.5)
    left = min(max(round(x * picture.width - width / 2), 0), picture.width - width)
    top = min(max(round(y * picture.height - height / 2), 0), picture.height - height)
    return picture.crop(left, top, width, height).copy_memory()
