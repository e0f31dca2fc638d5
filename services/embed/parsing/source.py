"""A file as it came, and what every parsed document must hold to."""

from dataclasses import dataclass, replace

from services.embed.domain import DocumentTooLarge, EmptyDocument, ParsedDocument
from services.embed.parsing.text import clean


@dataclass(frozen=True, slots=True)
class Source:
    """A file: its name and media type may be wrong."""

    content: bytes
    name: str
    media_type: str
    max_characters: int


def checked(parsed: ParsedDocument, max_characters: int) -> ParsedDocument:
    """Return `parsed` with clean text.

    Raises:
        EmptyDocument: it has no text.
        DocumentTooLarge: it has too much.
    """
    # Pages were cleaned one by one, or their offsets would be off.
    document = parsed if parsed.pages else replace(parsed, text=clean(parsed.text))
    if not any(char.isalnum() for char in document.text):
        raise EmptyDocument("there is no text in the file")
    if len(document.text) > max_characters:
        raise DocumentTooLarge(f"the text is longer than {max_characters} characters")
    return document
