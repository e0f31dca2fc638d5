"""Reads PDF, a page at a time."""

import contextlib
from collections.abc import Iterator

import pypdfium2

from services.embed.domain import EncryptedDocument, MalformedDocument, Page, ParsedDocument
from services.embed.parsing.text import clean

_PASSWORD_ERRORS = {pypdfium2.raw.FPDF_ERR_PASSWORD, pypdfium2.raw.FPDF_ERR_SECURITY}
_END = b"%%EOF"
_END_WITHIN = 2048


def parse_pdf(content: bytes) -> ParsedDocument:
    """Read the text of every page.

    Raises:
        EncryptedDocument: it opens only with a password.
        MalformedDocument: it is broken.
    """
    with _opened(content) as document:
        title = " ".join(document.get_metadata_dict().get("Title", "").split())
        texts = [_text_of(page) for page in document]
    if not any(texts) and _END not in content[-_END_WITHIN:]:
        raise MalformedDocument("the PDF is cut off")
    return joined(texts, title)


def joined(texts: list[str], title: str) -> ParsedDocument:
    """Return the document of these pages; those without text count, but leave none."""
    parts: list[str] = []
    pages: list[Page] = []
    start = 0
    for number, text in enumerate(texts, 1):
        if text:
            pages.append(Page(number, start))
            parts.append(text)
            start += len(text) + 2
    return ParsedDocument("\n\n".join(parts), title, tuple(pages))


@contextlib.contextmanager
def _opened(content: bytes) -> Iterator[pypdfium2.PdfDocument]:
    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        if getattr(error, "err_code", None) in _PASSWORD_ERRORS:
            raise EncryptedDocument("the PDF opens only with a password") from error
        raise MalformedDocument("the PDF is broken") from error
    try:
        yield document
    finally:
        document.close()


def _text_of(page: pypdfium2.PdfPage) -> str:
    text_page = page.get_textpage()
    try:
        return clean(text_page.get_text_bounded())
    finally:
        text_page.close()
        page.close()
