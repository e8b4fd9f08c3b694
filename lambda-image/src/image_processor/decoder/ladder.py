"""Pictures in the sizes that a recipe makes: how each is derived from a larger one."""

import pyvips

from image_processor.decoder import light
from image_processor.decoder.sizes import LINEAR_BELOW, Size
from image_processor.recipe import Recipe

#: A picture is shrunk from the smallest plain width larger by this factor; nearer ones have lost too much detail.
_FROM = 1.4

Point = tuple[float, float]


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
