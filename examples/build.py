"""Builds the binary examples (PDF, DOCX, XLSX, PPTX) from the texts in sources/: python examples/build.py.

The same sources give the same bytes: times are fixed, and archives are written again in order.
"""

import datetime as dt
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import docx
import openpyxl
import pptx
from reportlab.lib import pagesizes
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.platypus import Flowable, ListFlowable, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

HERE = Path(__file__).parent
WHEN = dt.datetime(2026, 3, 1)  # noqa: DTZ001 - Office files keep naive times
BOLD = re.compile(r"\*\*(.+?)\*\*")


@dataclass(frozen=True, slots=True)
class Block:
    """A heading (with its level), a paragraph, a list or a table of a source."""

    kind: str
    text: str = ""
    level: int = 0
    rows: tuple[tuple[str, ...], ...] = ()


def blocks_of(text: str) -> list[Block]:
    """Return the blocks of the little Markdown that the sources use."""
    return [_block(part.splitlines()) for part in re.split(r"\n\s*\n", text.strip())]


def _block(lines: list[str]) -> Block:
    first = lines[0]
    if first.startswith("#"):
        level = len(first) - len(first.lstrip("#"))
        return Block("heading", first[level:].strip(), level)
    if first.startswith("|"):
        cells = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
        return Block("table", rows=(cells[0], *cells[2:]))
    if re.match(r"- |\d+\. ", first):
        items = tuple((re.sub(r"^(- |\d+\. )", "", line),) for line in lines)
        return Block("bullets" if first.startswith("- ") else "numbers", rows=items)
    return Block("paragraph", " ".join(lines))


def build_pdf(source: Path, target: Path) -> None:
    """Write a PDF with a heading, lists and tables as in the source."""
    blocks = blocks_of(source.read_text(encoding="utf-8"))
    document = SimpleDocTemplate(
        str(target), pagesize=pagesizes.A5, title=blocks[0].text, invariant=1, author="Marlouve"
    )
    document.build([part for block in blocks for part in (_flowable(block), Spacer(1, 6))])


def _flowable(block: Block) -> Flowable:
    styles = getSampleStyleSheet()
    body = styles["BodyText"]
    if block.kind == "heading":
        return Paragraph(_markup(block.text), styles[f"Heading{block.level}"])
    if block.kind == "table":
        cells = [[Paragraph(_markup(cell), body) for cell in row] for row in block.rows]
        return Table(cells, style=TableStyle([("GRID", (0, 0), (-1, -1), 0.5, "grey")]), repeatRows=1)
    if block.kind == "paragraph":
        return Paragraph(_markup(block.text), body)
    items = [Paragraph(_markup(item), body) for (item,) in block.rows]
    if block.kind == "numbers":
        return ListFlowable(items, bulletType="1")
    return ListFlowable(items, bulletType="bullet", start="-")  # the round one is lost when text is extracted


def _markup(text: str) -> str:
    return BOLD.sub(r"<b>\1</b>", escape(text))


def build_docx(source: Path, target: Path) -> None:
    """Write a Word document with real headings, lists and tables."""
    document = docx.Document()
    document.core_properties.author = "Marlouve"
    document.core_properties.created = document.core_properties.modified = WHEN
    for block in blocks_of(source.read_text(encoding="utf-8")):
        if block.kind == "heading":
            document.add_heading(block.text, block.level)
        elif block.kind == "table":
            _add_table(document, block)
        elif block.kind == "paragraph":
            document.add_paragraph(_plain(block.text))
        else:
            for (item,) in block.rows:
                document.add_paragraph(_plain(item), "List Bullet" if block.kind == "bullets" else "List Number")
    document.save(str(target))
    freeze(target)


def _add_table(document: docx.document.Document, block: Block) -> None:
    table = document.add_table(len(block.rows), len(block.rows[0]), "Table Grid")
    for row, cells in zip(table.rows, block.rows, strict=True):
        for cell, text in zip(row.cells, cells, strict=True):
            cell.text = _plain(text)


def _plain(text: str) -> str:
    return BOLD.sub(r"\1", text)


def build_xlsx(source: Path, target: Path) -> None:
    """Write a workbook: a sheet a heading, with the table below it, numbers as numbers."""
    workbook = openpyxl.Workbook()
    workbook.remove(workbook.active)
    workbook.properties.creator, workbook.properties.created = "Marlouve", WHEN
    for block in blocks_of(source.read_text(encoding="utf-8")):
        if block.kind == "heading" and block.level > 1:
            workbook.create_sheet(block.text)
        for row in block.rows:
            workbook.worksheets[-1].append([_number(cell) for cell in row])
    workbook.save(target)
    freeze(target)


def _number(text: str) -> str | float:
    return float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else text


def build_pptx(source: Path, target: Path) -> None:
    """Write slides: one a heading, with the bullets below it."""
    presentation = pptx.Presentation()
    presentation.core_properties.author = "Marlouve"
    presentation.core_properties.created = presentation.core_properties.modified = WHEN
    for block in blocks_of(source.read_text(encoding="utf-8")):
        if block.kind == "heading" and block.level > 1:
            slide = presentation.slides.add_slide(presentation.slide_layouts[1])
            slide.shapes.title.text = block.text
        if block.kind == "bullets":
            slide.placeholders[1].text = "\n".join(item for (item,) in block.rows)
    presentation.save(str(target))
    freeze(target)


def freeze(archive: Path) -> None:
    """Write an Office file again with its entries in order and without the time of day."""
    with zipfile.ZipFile(archive) as old:
        entries = {name: old.read(name) for name in sorted(old.namelist())}
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in entries.items():
            # Only the documents' properties hold this tag: openpyxl sets it to now.
            timeless = re.sub(rb"(<dcterms:modified[^>]*>)[^<]*", rb"\g<1>2026-03-01T00:00:00Z", content)
            new.writestr(zipfile.ZipInfo(name, WHEN.timetuple()[:6]), timeless, zipfile.ZIP_DEFLATED)


BUILDS = (
    (build_pdf, "alba-manual-en.md", "manuals/alba-manual-en.pdf"),
    (build_pdf, "duo-manual-en.md", "manuals/duo-manual-en.pdf"),
    (build_pdf, "alba-manuel-fr.md", "manuals/alba-manuel-fr.pdf"),
    (build_pdf, "meule-64-notice-fr.md", "manuals/meule-64-notice-fr.pdf"),
    (build_docx, "confidentialite.md", "politiques/confidentialite.docx"),
    (build_docx, "droit-a-la-reparation.md", "politiques/droit-a-la-reparation.docx"),
    (build_docx, "workshops-and-opening-hours.md", "team/workshops-and-opening-hours.docx"),
    (build_docx, "guide-service-client.md", "team/guide-service-client.docx"),
    (build_xlsx, "price-list-2026.md", "prices/price-list-2026.xlsx"),
    (build_pptx, "training-2026.md", "team/training-2026.pptx"),
)


def main() -> None:
    for build, source, target in BUILDS:
        build(HERE / "sources" / source, HERE / "company" / target)


if __name__ == "__main__":
    main()
