"""Bytes in, variants and facts out: one decode for the whole ladder. Pure: no AWS, no clock, no environment."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyvips

from image_processor import facts, light
from image_processor.gate import Header, undecodable
from image_processor.recipe import Recipe

#: Nothing is processed twice, so what the operation cache keeps would only be memory gone.
pyvips.cache_set_max(0)

#: Variants narrower than this are shrunk in linear light: it is there that plain averages darken fine detail visibly.
#: Above it, the decoder's own shrinking has done most of the work already.
LINEAR_BELOW = 1280

#: "As high as it comes": only the width bounds a variant of the ladder.
_UNBOUNDED = 10_000_000

_CONTENT_TYPES = {"avif": "image/avif", "webp": "image/webp", "jpeg": "image/jpeg", "png": "image/png"}
_SUFFIXES = {"jpeg": "jpg"}


@dataclass(frozen=True)
class Variant:
    """One encoded picture. Its name is stable and safe in a URL: `w640-avif`, `thumbnail-jpeg`."""

    name: str
    format: str
    width: int
    height: int
    data: bytes

    @property
    def content_type(self) -> str:
        return _CONTENT_TYPES[self.format]

    @property
    def file_name(self) -> str:
        return f"{self.name}.{_SUFFIXES.get(self.format, self.format)}"


@dataclass(frozen=True)
class Rendition:
    """Everything that is made of one image. Width and height are the source's, upright."""

    width: int
    height: int
    variants: list[Variant]
    placeholder: str  # ThumbHash, base64
    colour: str  # dominant, #rrggbb
    exif: dict[str, str | int | float]


def render(data: bytes, header: Header, recipe: Recipe) -> Rendition:
    """Decodes once, as small as the widest variant allows, and derives every other size from the next larger one.

    A width above the source's is not made; where the source is narrower than the ladder's top, the top rung is the
    source's own width under the name of the rung above it, so that `w1920` always is the best there is.

    Raises:
        Rejected: TRUNCATED or UNDECODABLE; half a picture is none.
    """
    upright_width, upright_height = (header.width, header.height)[:: -1 if header.orientation >= 5 else 1]
    try:
        pictures = _ladder(data, _rungs(upright_width, recipe), recipe)
        smallest = pictures[-1][1]
        alpha = smallest.hasalpha()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            # Dearest first: what takes longest must not start last.
            encoded = [
                pool.submit(_encode, name, picture, kind, recipe)
                for name, picture in pictures
                for kind in (recipe.modern_format, "png" if alpha else "jpeg")
            ]
            variants = [each.result() for each in encoded]
        source = pyvips.Image.new_from_buffer(data, "", access="sequential")
        return Rendition(
            width=upright_width,
            height=upright_height,
            variants=variants,
            placeholder=facts.thumbhash(smallest),
            colour=facts.dominant_colour(smallest, recipe.background_rgb),
            exif=facts.safe_exif(source),
        )
    except pyvips.Error as error:
        raise undecodable(error) from None


def _rungs(width: int, recipe: Recipe) -> list[tuple[str, int]]:
    """Names and widths, widest first."""
    rungs = [(f"w{rung}", rung) for rung in recipe.widths if rung <= width]
    above = next((rung for rung in recipe.widths if rung > width), None)
    if above is not None and (not rungs or rungs[-1][1] < width):
        rungs.append((f"w{above}", width))
    return rungs[::-1]


def _ladder(data: bytes, rungs: list[tuple[str, int]], recipe: Recipe) -> list[tuple[str, pyvips.Image]]:
    """Pictures in sRGB, upright, in memory; the square thumbnail last."""
    picture = _in_memory(
        pyvips.Image.thumbnail_buffer(
            data,
            max(rungs[0][1], LINEAR_BELOW),
            height=_UNBOUNDED,
            size="down",
            output_profile="srgb",
            option_string="[fail_on=truncated]",  # the argument of that name is not handed on to the loader
        )
    )
    # The thumbnail needs both sides: it is cut from the narrowest picture that still covers it.
    size = min(recipe.thumbnail_size, picture.width, picture.height)
    covering, linear, pictures = picture, None, []
    for name, width in rungs:
        if width >= LINEAR_BELOW and width < picture.width:
            picture = _in_memory(picture.thumbnail_image(width, height=_UNBOUNDED, size="down"))
        elif width < picture.width:
            linear = light.shrink(light.from_srgb(picture) if linear is None else linear, width).copy_memory()
            picture = light.to_srgb(linear).copy_memory()
        pictures.append((name, picture))
        if min(picture.width, picture.height) >= size:
            covering = picture
    square = covering.thumbnail_image(size, height=size, crop="attention", linear=True)
    return [*pictures, ("thumbnail", _in_memory(square))]


def _in_memory(image: pyvips.Image) -> pyvips.Image:
    """8-bit sRGB with or without alpha, computed now and once."""
    if image.interpretation != "srgb" or image.format != "uchar":
        image = image.colourspace("srgb").cast("uchar")
    return image.copy_memory()


def _encode(name: str, picture: pyvips.Image, kind: str, recipe: Recipe) -> Variant:
    if kind == "jpeg":
        data = picture.jpegsave_buffer(Q=recipe.fallback_quality, optimize_coding=True, keep="none")
    elif kind == "png":
        data = picture.pngsave_buffer(compression=6, keep="none")
    elif kind == "avif":
        data = picture.heifsave_buffer(compression="av1", Q=recipe.modern_quality, effort=0, keep="none")
    else:
        data = picture.webpsave_buffer(Q=recipe.modern_quality, effort=2, keep="none")
    return Variant(f"{name}-{kind}", kind, picture.width, picture.height, bytes(data))
