"""From bytes to clean text, whatever their encoding."""

import codecs
import re
import unicodedata

from charset_normalizer import from_bytes, is_binary

SAMPLE_BYTES = 64 * 1024

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    # UTF-32 first: its little-endian mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LINE_ENDS = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_UNWANTED = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufeff\ufffe\uffff]")
_BLANK_LINES = re.compile(r"\n[ \t]*(?:\n[ \t]*){2,}")


def is_text(content: bytes) -> bool:
    """Return whether `content` can be read as text at all."""
    sample = content[:SAMPLE_BYTES]
    if any(sample.startswith(mark) for mark, _ in _BOMS):
        return True
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return not is_binary(sample)
    return b"\0" not in sample


def decode(content: bytes) -> str:
    """Return the text in `content`; what cannot be decoded becomes U+FFFD."""
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            return content.decode(encoding, "replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode(_encoding_of(content), "replace")


def _encoding_of(content: bytes) -> str:
    # Where most of what is not ASCII is valid, it is UTF-8 with something broken in it.
    valid = sum(not char.isascii() for char in content.decode("utf-8", "ignore"))
    broken = content.decode("utf-8", "replace").count("\ufffd")
    if valid >= broken:
        return "utf-8"
    matches = from_bytes(content[:SAMPLE_BYTES])
    best = matches.best()
    if best is None:
        return "utf-8"
    # Neighbours of Western Europe's code page read its texts as well as it does; it is the likelier.
    western = any(match.encoding == "cp1252" and match.coherence >= best.coherence for match in matches)
    return "cp1252" if western else best.encoding


def clean(text: str) -> str:
    """Return `text` in NFC with plain line ends, and without control characters and long gaps."""
    # PDFium writes U+FFFE for the hyphen of a word broken at the end of a line.
    joined = re.sub("\ufffe\r?\n", "", text)
    plain = _UNWANTED.sub("", _LINE_ENDS.sub("\n", joined))
    return unicodedata.normalize("NFC", _BLANK_LINES.sub("\n\n", plain)).strip()
