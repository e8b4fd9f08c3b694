"""Bytes in, variants and facts out: one decode for the whole ladder. Pure: no AWS, no clock, no environment."""

from collections.abc import Iterator

import pyvips

from image_processor.decoder import facts, metadata
from image_processor.decoder.decode import decode, first_frame, frames
from image_processor.decoder.encode import Job, encode, formats, has_few_colours, is_graphic
from image_processor.decoder.gate import Header, is_lossy, undecodable
from image_processor.decoder.ladder import Point, Size, each_frame, pictures, sizes, top
from image_processor.recipe import Recipe
from image_processor.rendition import Rendition, Variant

#: Nothing is processed twice, so what the operation cache keeps would only be memory gone.
pyvips.cache_set_max(0)

__all__ = ["Rendition", "Variant", "render"]


def render(
    data: bytes,
    header: Header,
    recipe: Recipe,
    *,
    focal_point: Point | None = None,
    threads: int | None = None,
    memory: int = 512 * 1024**2,
) -> Rendition:
    """Decodes once, as small as the largest variant allows, and derives every other size from a larger one.

    `focal_point` is where the subject is, from 0 to 1 rightwards and downwards in the upright picture. Encoders run in
    `threads` (None: one per CPU) as far as `memory` bytes hold them.

    Raises:
        Rejected: TRUNCATED or UNDECODABLE; half a picture is none unless the recipe says so.
    """
    width, height = (header.width, header.height)[:: -1 if header.orientation >= 5 else 1]
    try:
        wanted = sizes(width, height, recipe)
        strip = frames(data, header.height) if _moves(header, recipe) else None
        size = top(width, height, wanted)
        decoded = decode(data, header, size, recipe) if strip is None else first_frame(strip, header.height, size)
        source = pyvips.Image.new_from_buffer(data, "", access="sequential")
        rights = metadata.rights(source)
        picture = metadata.attach(decoded.picture, rights)
        lossy, few_colours = is_lossy(data, header.format), has_few_colours(source)
        stills = [
            [Job(f"{size.spec.name}-{encoding.format}", picture, encoding) for encoding in encodings]
            for size, picture in pictures(picture, wanted, recipe, focal_point)
            # A lossy encoder has smoothed photographs and frayed edges; at a small size no edge is what it was.
            for graphic in [not lossy and (is_graphic(picture) or (few_colours and picture.width == width))]
            for encodings in [formats(size.spec, picture, graphic, recipe)]
        ]
        moving = [] if strip is None else list(_moving(metadata.attach(strip, rights), header, wanted, recipe))
        jobs = [job for jobs in (*stills, moving) for job in jobs]
        variants = encode(jobs, recipe, decoded.wide_gamut, threads, memory)
        return Rendition(
            width=width,
            height=height,
            variants=_worth_keeping(variants, {jobs[-1].name for jobs in stills}, (width, height, len(data))),
            **facts.look([jobs[0].picture for jobs in stills], recipe.background_rgb),
            exif=metadata.read(source, recipe.gps),
            notes=decoded.notes,
            decoded=decoded.share,
        )
    except pyvips.Error as error:
        raise undecodable(error, data) from None


def _moves(header: Header, recipe: Recipe) -> bool:
    return header.frames > 1 and header.format in ("gif", "webp") and header.frames <= recipe.animation.max_frames


def _moving(strip: pyvips.Image, header: Header, wanted: list[Size], recipe: Recipe) -> Iterator[Job]:
    """The animation at every plain width within its budget of pixels."""
    for size in wanted:
        if size.spec.height is None and size.width * size.height * header.frames <= recipe.animation.max_pixels:
            scaled = each_frame(strip, header.height, size.width, size.height)
            yield Job(f"{size.spec.name}-animated", scaled, recipe.animation, header.frames)


def _worth_keeping(variants: list[Variant], fallbacks: set[str], source: tuple[int, int, int]) -> list[Variant]:
    """Without those larger than their fallback, or than the source (width, height, bytes) at the same size.

    A fallback stays: without it, there would be something that some viewers see nothing of.
    """
    width, height, size = source
    limit = {variant.name.split("-")[0]: len(variant.data) for variant in variants if variant.name in fallbacks}
    return [
        variant
        for variant in variants
        if variant.name in fallbacks
        or (
            (variant.frames > 1 or len(variant.data) < limit[variant.name.split("-")[0]])
            and not ((variant.width, variant.height) == (width, height) and len(variant.data) > size)
        )
    ]
