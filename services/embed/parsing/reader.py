"""Reads a document of any known format; runs in a process of its own, for its parsers may fall."""

from collections.abc import Callable

from services.embed.domain import DocumentRejected, MalformedDocument, ParsedDocument
from services.embed.parsing.kinds import Kind, kind_of
from services.embed.parsing.mail import parse_mail
from services.embed.parsing.office import parse_office
from services.embed.parsing.pdf import parse_pdf
from services.embed.parsing.plain import parse_csv, parse_json, parse_text
from services.embed.parsing.source import Source, checked
from services.embed.parsing.web import parse_html

_PARSERS: dict[Kind, Callable[[bytes], ParsedDocument]] = {
    Kind.PDF: parse_pdf,
    Kind.OFFICE: parse_office,
    Kind.HTML: parse_html,
    Kind.EMAIL: parse_mail,
    Kind.JSON: parse_json,
    Kind.CSV: parse_csv,
    Kind.TEXT: parse_text,
}


def read(source: Source) -> ParsedDocument:
    """Return the document.

    Raises:
        DocumentRejected: it can never be read.
    """
    kind = kind_of(source.content, source.name, source.media_type)
    try:
        parsed = _PARSERS[kind](source.content)
    except (DocumentRejected, MemoryError):
        raise
    except Exception as error:
        # The parsers raise anything at all on hostile files; each means the same to us.
        raise MalformedDocument(f"the {kind} parser gave up: {type(error).__name__}") from error
    return checked(parsed, source.max_characters)
