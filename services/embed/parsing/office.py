"""Reads DOCX, PPTX and XLSX."""

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import openpyxl
from markitdown import StreamInfo
from markitdown.converters import DocxConverter, PptxConverter

from services.embed.domain import ParsedDocument, UnsupportedFormat
from services.embed.parsing.archives import open_archive
from services.embed.parsing.pdf import joined
from services.embed.parsing.tables import table_of
from services.embed.parsing.text import clean
from services.embed.parsing.web import without_images

_SLIDE = re.compile(r"<!-- Slide number: \d+ -->\n?")


def parse_office(content: bytes) -> ParsedDocument:
    """Read an Office file.

    Raises:
        DocumentRejected: it is broken, encrypted, a zip bomb, or an archive of something else.
    """
    with open_archive(content) as archive:
        names = set(archive.namelist())
    for name, parse in _PARSERS.items():
        if name in names:
            return parse(content)
    raise UnsupportedFormat("the archive is no document")


def _parse_docx(content: bytes) -> ParsedDocument:
    result = DocxConverter().convert(io.BytesIO(content), StreamInfo(extension=".docx"))
    return ParsedDocument(without_images(result.markdown))


def _parse_pptx(content: bytes) -> ParsedDocument:
    markdown = PptxConverter().convert(io.BytesIO(content), StreamInfo(extension=".pptx")).markdown
    slides = _SLIDE.split(without_images(markdown))[1:]
    return replace(joined([clean(slide) for slide in slides], ""), kind="slides")


def _parse_xlsx(content: bytes) -> ParsedDocument:
    book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
    try:
        return replace(joined([clean(_sheet(sheet)) for sheet in book.worksheets], ""), kind="table")
    finally:
        book.close()


def _sheet(sheet: Any) -> str:
    table = table_of(_rows(sheet))
    return f"## {sheet.title}\n\n{table}" if table else ""


def _rows(sheet: Any) -> Iterator[tuple[object, ...]]:
    # Many files say that they are a million rows by sixteen thousand columns.
    sheet.reset_dimensions()
    yield from sheet.iter_rows(values_only=True)


_PARSERS: dict[str, Callable[[bytes], ParsedDocument]] = {
    "word/document.xml": _parse_docx,
    "ppt/presentation.xml": _parse_pptx,
    "xl/workbook.xml": _parse_xlsx,
}
