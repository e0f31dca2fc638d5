"""Reads HTML, and the Markdown that comes of it."""

import io
import re

from markitdown import StreamInfo
from markitdown.converters import HtmlConverter

from services.embed.domain import ParsedDocument
from services.embed.parsing.text import decode

_IMAGE = re.compile(r"!\[([^\]\n]{0,1000})\]\([^)\n]{0,5000}\)")
_DECLARED = re.compile(rb"<meta[^>]+charset=[\"']?([A-Za-z0-9_-]+)", re.IGNORECASE)
_HEAD = 2048


def parse_html(content: bytes) -> ParsedDocument:
    """Read a page: its body, without scripts and styles."""
    return parse_markup(_decoded(content))


def parse_markup(html: str) -> ParsedDocument:
    """Read a page that is decoded already."""
    stream = io.BytesIO(html.encode("utf-8", "replace"))
    result = HtmlConverter().convert(stream, StreamInfo(charset="utf-8"))
    return ParsedDocument(without_images(result.markdown), " ".join((result.title or "").split()))


def without_images(markdown: str) -> str:
    """Return `markdown` with the description of each image in its place."""
    return _IMAGE.sub(r"\1", markdown)


def _decoded(content: bytes) -> str:
    declared = _DECLARED.search(content[:_HEAD])
    if declared:
        try:
            return content.decode(declared[1].decode())
        except (UnicodeDecodeError, LookupError):
            pass
    return decode(content)
