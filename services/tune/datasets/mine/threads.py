"""Chats and mail threads that ended well: what somebody asked, and what they were told next."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from services.common.grounding.words import folded
from services.common.prompts.prompt import Turn
from services.tune.datasets.mine.documents import (
    Document,
    Pair,
    asks,
    plain,
    questions_in,
    shortened,
    starts_in,
    statements_in,
)

MOST_HISTORY = 2
_LEAST_TURNS = 3
_TIME = r"\[?\d{1,4}[\d:.,/hT -]{2,22}(?:[AaPp][Mm])?\]?"
# "**09:12 Rowena:** …", "[10:02] <ada> …", "Ada: …"; every repeat is bounded, so that no text makes it slow.
_TURN = re.compile(
    rf"^[ ]{{0,3}}(?:{_TIME}[ -]{{1,3}})?(?:\*\*(?P<bold>[^*\n]{{1,60}}?):?\*\*:?|<(?P<handle>[^>\n]{{1,40}})>"
    rf"|(?P<plain>[^\W\d_a-z][\w.'\u2019-]{{0,30}}(?: [\w.'\u2019-]{{1,30}}){{0,2}})(?: ?\[[^\]\n]{{1,40}}\])?:)(?=\s)",
    re.MULTILINE,
)
_WHEN = re.compile(rf"{_TIME}|^.*,")
_SOLVED = re.compile(
    r"\b(?:outcome|resultat|ergebnis|resultado|esito)\b[^\n]{0,3}:? ?\**"
    r"(?:solved|resolved|resolu|gelost|resuelto|risolto)"
)
_RATED = re.compile(r"\b(?P<given>[1-5])(?: ?/ ?| of | sur | von | de | su )5\b")
_THANKS = re.compile(
    r"\b(?:thanks|thank you|cheers|perfect|wonderful|works (?:now|again)|that (?:worked|helped)|merci|parfait|super"
    r"|ca marche|danke|perfekt|klappt|gracias|perfecto|funciona|grazie|perfetto)\b"
)
_IN_ADVANCE = re.compile(r"\b(?:in advance|d'avance|par avance|im voraus|de antemano|in anticipo)\b")
_WROTE = re.compile(
    r"^[> ]*(?:On|Le|Am|El|Il) [^\n]{6,200}(?:\n[> ]*[^\n]{1,100})?"
    r"(?:wrote|a \u00e9crit|schrieb|escribi\u00f3|ha scritto)[^\n]{0,80}:[ \t]*$",
    re.MULTILINE,
)
_QUOTE = re.compile(r"^(?P<marks>(?:>[ ]?)*)")
_HEADER = re.compile(r"^[A-Z][\w-]{1,20}: ")
_GREETING = re.compile(
    r"^\W*(?:hello|hi|dear|good (?:morning|afternoon)|bonjour|bonsoir|cher|ch\u00e8re|salut"
    r"|hallo|guten|sehr geehrte|liebe|hola|buenos|buongiorno|ciao)\b[^\n]{0,60}$",
    re.IGNORECASE,
)
GOOD = 4


@dataclass(frozen=True, slots=True)
class _Said:
    speaker: str
    text: str
    start: int
    end: int


def pairs_in_thread(document: Document) -> Iterator[Pair]:
    """Yield the pairs of a document that is a chat or a mail with what it answers."""
    text = document.text()
    if document.kind == "mail":
        yield from _of_mail(text)
        return
    turns = list(_turns(text))
    if len(turns) >= _LEAST_TURNS and len({each.speaker for each in turns}) > 1 and _ended_well(text, turns):
        yield from _of_chat(text, turns)


def _turns(text: str) -> Iterator[_Said]:
    heads = list(_TURN.finditer(text))
    # Where names stand out, what only looks like one, such as "Language: English", is none.
    heads = [each for each in heads if not each["plain"]] or heads
    ends = [*(each.start() for each in heads), len(text)][1:]
    for head, end in zip(heads, ends, strict=True):
        name = _WHEN.sub("", head["bold"] or head["handle"] or head["plain"] or "").strip(" :,-").casefold()
        # What comes under the next heading is not said any more.
        said = re.split(r"\n#{1,6} ", text[head.end() : end])[0]
        if name:
            yield _Said(name, said, head.end(), head.end() + len(said))


def _ended_well(text: str, turns: Sequence[_Said]) -> bool:
    before = folded(text[: turns[0].start])
    if rated := _RATED.search(before):
        return int(rated["given"]) >= GOOD
    return bool(_SOLVED.search(before)) or any(_is_thanks(each.text) for each in turns[-2:])


def _is_thanks(text: str) -> bool:
    text = folded(text)
    return bool(_THANKS.search(text)) and not asks(text) and not _IN_ADVANCE.search(text)


def _of_chat(text: str, turns: Sequence[_Said]) -> Iterator[Pair]:
    asker = turns[0].speaker
    history: list[Turn] = []
    for said, told in pairwise(turns):
        if said.speaker != asker or told.speaker == asker:
            continue
        question, answer = questions_in(said.text), shortened(statements_in(told.text))
        if asks(said.text) and question and answer:
            start = starts_in(text, answer, told.start, told.end)
            yield Pair(question, answer, start, "chat", tuple(history[-MOST_HISTORY:]), together=True)
        history.append(Turn(plain(said.text), plain(told.text)))


def _of_mail(text: str) -> Iterator[Pair]:
    """Yield a question of a thread, its answer, where a later message of who asked says that it was one."""
    messages = list(_messages(text))
    # The newest comes first: thanks, the answer that they are for, and the question.
    for thanks, told, said in zip(messages, messages[1:], messages[2:], strict=False):
        if not _is_thanks(thanks.text) or not asks(said.text):
            continue
        question, answer = questions_in(_body(said.text)), shortened(statements_in(_body(told.text)))
        if question and answer:
            yield Pair(question, answer, starts_in(text, answer, told.start, told.end), "mail", together=True)


def _messages(text: str) -> Iterator[_Said]:
    """Yield the messages of a thread by how deep they are quoted."""
    depth, start, at = 0, 0, 0
    lines: list[str] = []
    for line in _WROTE.sub(lambda match: " " * len(match[0]), text).splitlines(keepends=True):
        marks = _QUOTE.match(line)
        own = marks["marks"].count(">") if marks else 0
        bare = line[len(marks["marks"]) :] if marks else line
        if own != depth and bare.strip():
            yield _Said(str(depth), "".join(lines), start, at)
            depth, lines, start = own, [], at
        lines.append(bare)
        at += len(line)
    yield _Said(str(depth), "".join(lines), start, at)


def _body(message: str) -> str:
    """Return a message without its headers and its greeting."""
    lines = [line for line in message.splitlines() if not _HEADER.match(line) and not _GREETING.match(line)]
    return "\n".join(lines).strip()
