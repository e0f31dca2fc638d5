"""Tickets that ended well: rows of a table of tickets, and documents with what was done under a heading."""

import re
from collections.abc import Iterator, Mapping

from services.common.grounding.words import folded
from services.tune.datasets.mine.documents import Document, Pair, plain, shortened, starts_in

_NAMES = {
    "subject": {"subject", "title", "question", "issue", "problem", "summary", "sujet", "objet", "betreff", "asunto"},
    "resolution": {"resolution", "answer", "solution", "response", "reply", "reponse", "losung", "antwort", "solucion"},
    "rating": {"rating", "satisfaction", "csat", "score", "note", "bewertung"},
    "status": {"status", "state", "statut", "etat", "estado", "stato"},
}
_ENDED = (
    r"closed|solved|resolved|done|fixed|clos|cloture|ferme|resolu|geschlossen|gelost|erledigt|cerrado|resuelto|chiuso"
    r"|risolto"
)
_IS_ENDED = re.compile(rf"\b(?:{_ENDED})")
_SAYS_ENDED = re.compile(
    rf"\b(?:status|state|statut|etat|estado|stato|outcome|resultat|ergebnis)\b[\s*|:=-]{{1,8}}(?:{_ENDED})\b"
)
_HEADING = re.compile(
    r"^#{2,6}[ \t]+(?:Resolution|Solution|Answer|R\u00e9solution|R\u00e9ponse|L\u00f6sung|Antwort|Soluci\u00f3n"
    r"|Soluzione)[ \t]*$",
    re.MULTILINE | re.IGNORECASE,
)
_TITLE = re.compile(r"^#[ \t]+(?P<title>[^\n]+)", re.MULTILINE)
_TICKET = re.compile(r"^\s*#?[A-Z]{0,6}[-#]?\d{2,10}\s*[:\u2013-]\s*")
_LINE = re.compile(r"^\|(?P<cells>.*)\|[ \t]*$", re.MULTILINE)
_RULE = re.compile(r"[\s|:-]*")
GOOD_RATING = 4.0


def pairs_in_tickets(document: Document) -> Iterator[Pair]:
    """Yield the pairs of a document that is a ticket or a table of tickets."""
    text = document.text()
    yield from _of_table(text)
    yield from _of_ticket(document, text)


def _of_table(text: str) -> Iterator[Pair]:
    columns: Mapping[str, int] = {}
    before = ""
    for line in _LINE.finditer(text):
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line["cells"])]
        if _RULE.fullmatch(line["cells"]):
            columns = _columns(before)
        elif {"subject", "resolution"} <= columns.keys() and len(cells) > max(columns.values()):
            row = {name: cells[place] for name, place in columns.items()}
            answer = shortened(row["resolution"])
            if answer and row["subject"] and _ended_well(row):
                at = max(line.start(), text.find(row["resolution"], line.start(), line.end()))
                yield Pair(plain(row["subject"]), answer, at, "ticket in a table")
        before = line["cells"]


def _columns(header: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for place, cell in enumerate(header.split("|")):
        words = set(folded(cell).split())
        for name, known in _NAMES.items():
            if words & known:
                found.setdefault(name, place)
    return found


def _ended_well(row: Mapping[str, str]) -> bool:
    """Return whether a ticket's row says that it ended, and nobody says that it ended badly."""
    rating, status = row.get("rating", ""), row.get("status")
    try:
        rated = float(rating.replace(",", "."))
    except ValueError:
        rated = None
    if rated is not None and rated == rated:  # no NaN  # noqa: PLR0124
        return rated >= GOOD_RATING
    return status is not None and bool(_IS_ENDED.match(folded(status)))


def _of_ticket(document: Document, text: str) -> Iterator[Pair]:
    heading = _HEADING.search(text)
    if not heading or not _SAYS_ENDED.search(folded(text[: heading.start()])):
        return
    stated = _TITLE.search(text)
    question = plain(_TICKET.sub("", stated["title"] if stated else document.title))
    paragraph = next((each for each in re.split(r"\n[ \t]*\n", text[heading.end() :]) if each.strip()), "")
    answer = shortened(paragraph)
    if question and answer:
        yield Pair(question, answer, starts_in(text, answer, heading.end(), len(text)), "ticket", together=True)
