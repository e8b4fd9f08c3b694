"""The engine: bytes in, variants and facts out. One decode for the whole ladder; no AWS, no clock, no environment."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyvips

from image_processor.decoder import facts, metadata
from image_processor.decoder.decode import decode, first_frame, frames
from image_processor.decoder.encode import Job, encode, formats, has_few_colours, is_graphic
from image_processor.decoder.ladder import Point, pictures, scale_frames
from image_processor.decoder.sizes import Size, sizes, top
from image_processor.decoder.vips_errors import undecodable
from image_processor.recipe import Recipe
from image_processor.rendition import Rendition, Variant
from image_processor.sniff import is_lossy
from image_processor.verdict import Header

#: No operation is repeated, so the cache of operations would only cost memory.
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
    """Decode once, as small as the largest variant allows, and derive every other size from a larger one.

    `focal_point` is where the subject is, from 0 to 1 rightwards and downwards in the upright picture. Encoders run in
    `threads` (None: one per CPU) as far as `memory` bytes hold them.

    Raises:
        Rejected: TRUNCATED or UNDECODABLE; half a picture counts only if the recipe says so (`partial`).
    """
    try:
        return _render(data, header, recipe, focal_point, threads, memory)
    except pyvips.Error as error:
        raise undecodable(error, data) from None


def _render(
    data: bytes, header: Header, recipe: Recipe, focal_point: Point | None, threads: int | None, memory: int
) -> Rendition:
    """Run the pipeline, step by step."""
    # 1. Which sizes?
    width, height = header.upright
    wanted = sizes(width, height, recipe)
    # 2. Decode, once.
    largest = top(width, height, wanted)
    strip = frames(data, header.height) if _is_animation(header, recipe) else None
    decoded = first_frame(strip, header.height, largest) if strip else decode(data, header, largest, recipe)
    # 3. Keep the rights of the author, and no other metadata.
    source = pyvips.Image.new_from_buffer(data, "", access="sequential")
    rights = metadata.rights(source)
    picture = metadata.attach(decoded.picture, rights)
    # 4. Scale: stills first, then the animation.
    ladder = pictures(picture, wanted, recipe, focal_point)
    moving = list(_animations(metadata.attach(strip, rights), header, wanted, recipe)) if strip else []
    # 5. Choose the formats by what the picture shows.
    stills = _stills(ladder, _Source(width, is_lossy(data, header.format), has_few_colours(source)), recipe)
    # 6. Encode everything side by side.
    jobs = [job for size in stills for job in size] + moving
    variants = encode(jobs, recipe, decoded.wide_gamut, threads, memory)
    # 7. Drop what is larger than its fallback or the source.
    fallbacks = {size[-1].name for size in stills}
    variants = _worth_keeping(variants, fallbacks, (width, height, len(data)))
    # 8. Describe the picture.
    return Rendition(
        width=width,
        height=height,
        variants=variants,
        **facts.look([size[0].picture for size in stills], recipe.background_rgb),
        exif=metadata.read(source, recipe.gps),
        notes=decoded.notes,
        decoded=decoded.share,
    )


@dataclass(frozen=True)
class _Source:
    width: int
    lossy: bool
    few_colours: bool


def _stills(ladder: list[tuple[Size, pyvips.Image]], source: _Source, recipe: Recipe) -> list[list[Job]]:
    """List the still pictures to encode: one list per size, from the best format to the fallback."""
    stills = []
    for size, picture in ladder:
        # A lossy encoder has smoothed photographs and frayed edges, and shrinking softens them: such pictures would be
        # mistaken for graphics, or graphics for photographs.
        as_it_was = source.few_colours and picture.width == source.width
        graphic = not source.lossy and (is_graphic(picture) or as_it_was)
        encodings = formats(size.spec, picture, graphic, recipe)
        stills.append([Job(f"{size.spec.name}-{encoding.format}", picture, encoding) for encoding in encodings])
    return stills


def _is_animation(header: Header, recipe: Recipe) -> bool:
    return header.frames > 1 and header.format in ("gif", "webp") and header.frames <= recipe.animation.max_frames


def _animations(strip: pyvips.Image, header: Header, wanted: list[Size], recipe: Recipe) -> Iterator[Job]:
    """Yield the animation at every plain width within its budget of pixels."""
    for size in wanted:
        if size.spec.height is None and size.width * size.height * header.frames <= recipe.animation.max_pixels:
            scaled = scale_frames(strip, header.height, size.width, size.height)
            yield Job(f"{size.spec.name}-animated", scaled, recipe.animation, header.frames)


def _worth_keeping(variants: list[Variant], fallbacks: set[str], source: tuple[int, int, int]) -> list[Variant]:
    """Drop variants larger than their fallback, or than the source (width, height, bytes) at the same size.

    Fallbacks stay: some viewers can show nothing else.
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
