"""Translates the error messages of libvips and its libraries into reasons. Imports no decoder."""

import re

from image_processor.verdict import Reason, Rejected

#: Messages for bytes that are missing at the end.
_TRUNCATED = re.compile(
    r"premature end|truncat|end of (?:file|stream|image|gif source)|unexpected eof|not enough|out of bounds"
    r"|outside of file bounds|unable to parse image|read error",
    re.IGNORECASE,
)


#: Messages for a codec that is not built in: old-style JPEG or LERC in a TIFF, JPEG 2000 in a HEIF.
_UNSUPPORTED_KIND = re.compile(r"unsupported (?:feature|codec)|not configured|not supported", re.IGNORECASE)

#: Messages without information. Every incomplete HEIF causes the first; of the second there is one for each thread that
#: comes to the decoder after it has failed, so it differs from try to try.
_NOISE = re.compile(r"(?:source: )+bad seek to \d+ ?|\b\w+: load error ?")

_NO_MEMORY = re.compile(
    r"out of memory|unable to allocate|failed to allocate|bad_alloc|cannot allocate|thread creation failed"
    r"|wbuffer_write: write failed",
    re.IGNORECASE,
)


#: libpng reports missing bytes and broken bytes alike. A file that ends with an IEND chunk is not truncated.
_PNG_ERROR, _PNG_END = "libpng read error", re.compile(rb"IEND.{4}\Z", re.DOTALL)


def undecodable(error: Exception, data: bytes = b"") -> Rejected:
    """Translate an error of libvips about a file's bytes into a refusal."""
    words = _NOISE.sub("", " ".join(str(error).split())).rstrip()
    if re.fullmatch(r"\w*|unable to copy to memory", words):
        words = "the data is broken, and its decoder does not say where"
    reason = Reason.UNDECODABLE
    # An encoder that fails on a decoded picture got no memory, although most do not say so.
    if lacks_memory(words) or re.match(r"(?:unable to call )?\w+save_buffer", words):
        reason = Reason.OUT_OF_MEMORY
    elif _TRUNCATED.search(words) and not (_PNG_ERROR in words and _PNG_END.search(data[-8:])):
        reason = Reason.TRUNCATED
    elif _UNSUPPORTED_KIND.search(words):
        reason = Reason.UNSUPPORTED_FORMAT
    return Rejected(reason, words.removeprefix("unable to call ")[:300])


def lacks_memory(words: str) -> bool:
    """Return whether a library's message says that it got no memory."""
    return bool(_NO_MEMORY.search(words))
