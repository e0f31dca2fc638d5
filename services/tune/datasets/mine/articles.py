"""Questions that articles ask themselves: FAQ entries, headings that are questions, and forms of Q and A."""

import re
from collections.abc import Iterator

from services.tune.datasets.mine.documents import Document, Pair, asks, plain, shortened, starts_in

_ENDS = "?\uff1f"
# "**How can I pay?** By card …", the question on a line of its own or before its answer.
_BOLD = re.compile(
    rf"^[ \t>-]{{0,4}}\*\*(?P<question>[^*\n]{{4,300}}[{_ENDS}])[ \t]*\*\*[ \t]*(?P<rest>[^\n]*)", re.MULTILINE
)
# "Q: …", "A: …", in the languages that answers are written in.
_MARKED = re.compile(
    r"^[ \t]{0,3}(?:\*\*)?(?:Q|Question|F|Frage|Pregunta|P|Domanda|D)[ \t]?\d{0,3}[.:)](?:\*\*)?[ \t]+"
    r"(?P<question>[^\n]{4,300})\n+"
    r"[ \t]{0,3}(?:\*\*)?(?:A|Answer|R|R\u00e9ponse|Antwort|Respuesta|Risposta)[ \t]?\d{0,3}[.:)](?:\*\*)?[ \t]+"
    r"(?P<rest>[^\n]+)",
    re.MULTILINE,
)
_HEADING = re.compile(rf"^#{{1,6}}[ \t]+(?P<question>[^\n]{{4,300}}[{_ENDS}])[ \t]*\**[ \t]*$", re.MULTILINE)
_BLANK = re.compile(r"\n[ \t]*\n")
# What opens a list or stands in a table says nothing by itself.
_NO_ANSWER = re.compile(r"[ \t]*(?:#{1,6}[ \t]|\||```)")


def pairs_in_article(document: Document) -> Iterator[Pair]:
    """Yield the pairs of an article, in no order."""
    text = document.text()
    for pattern, rule in ((_BOLD, "faq entry"), (_MARKED, "question and answer"), (_HEADING, "heading")):
        for match in pattern.finditer(text):
            begins = match.start("rest") if "rest" in pattern.groupindex else match.end()
            if pair := _pair(text, match["question"], begins, rule):
                yield pair


def _pair(text: str, question: str, begins: int, rule: str) -> Pair | None:
    # Where the question stands alone, its answer is the next paragraph.
    while begins < len(text) and text[begins].isspace():
        begins += 1
    blank = _BLANK.search(text, begins)
    ends = blank.start() if blank else len(text)
    following = _BOLD.search(text, begins, ends)
    paragraph = text[begins : following.start() if following else ends]
    if _NO_ANSWER.match(paragraph) or paragraph.rstrip().endswith(":") or asks(paragraph.partition("\n")[0][:4]):
        return None
    answer = shortened(paragraph)
    if not answer:
        return None
    return Pair(plain(question), answer, starts_in(text, answer, begins, ends), rule)
