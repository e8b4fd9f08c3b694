"""Resizes in linear light. Averaging sRGB values would darken fine bright detail.

8-bit sRGB goes to 16-bit linear light and back through look-up tables, which costs a fraction of the exact conversion
and loses nothing that eight bits can show. Formula of the curve: IEC 61966-2-1; Display P3 has the same.
"""

from functools import cache

import pyvips

MAX_LIGHT = 65535


def resize(picture: pyvips.Image, width: int, height: int) -> pyvips.Image:
    """Resize 8-bit sRGB to a size in pixels, in linear light. The result is computed when it is read."""
    return to_srgb(scale(from_srgb(picture), width, height))


def scale(picture: pyvips.Image, width: int, height: int) -> pyvips.Image:
    """Resize to a size in pixels by Lanczos3, without converting the values."""
    if (picture.width, picture.height) == (width, height):
        return picture
    return picture.resize(width / picture.width, vscale=height / picture.height)


def from_srgb(picture: pyvips.Image) -> pyvips.Image:
    """Convert 8-bit sRGB to linear light, 0 to 65535. Alpha is premultiplied, so that invisible colours add nothing."""
    if not picture.hasalpha():
        return picture.maplut(_to_linear())
    colour = picture[:3].maplut(_to_linear())
    alpha = picture[3].cast("ushort") * (MAX_LIGHT // 255)
    return colour.bandjoin(alpha).premultiply(max_alpha=MAX_LIGHT)


def to_srgb(light: pyvips.Image) -> pyvips.Image:
    """Convert linear light back to 8-bit sRGB; colours are no longer premultiplied."""
    if light.bands < 4:
        return light.maplut(_from_linear()).copy(interpretation="srgb")
    straight = light.unpremultiply(max_alpha=MAX_LIGHT).cast("ushort")
    alpha = (straight[3] / (MAX_LIGHT // 255)).rint().cast("uchar")
    return straight[:3].maplut(_from_linear()).bandjoin(alpha).copy(interpretation="srgb")


@cache
def _to_linear() -> pyvips.Image:
    value = pyvips.Image.identity().cast("double") / 255
    linear = (value <= 0.04045).ifthenelse(value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return (linear * MAX_LIGHT).rint().cast("ushort").copy_memory()


@cache
def _from_linear() -> pyvips.Image:
    linear = pyvips.Image.identity(ushort=True).cast("double") / MAX_LIGHT
    value = (linear <= 0.0031308).ifthenelse(linear * 12.92, linear ** (1 / 2.4) * 1.055 - 0.055)
    return (value * 255).rint().cast("uchar").copy_memory()
