"""Questions that one search does not answer, taken apart by rule.

Two shapes, in English: a comparison ("Which came first, A or B?") is searched once for each of what it
compares; a relation ("Where was the director of A born?") goes on from the passage about A to whom that
passage names in it. Nothing is generated: whatever is searched for stands in the question or in a passage.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, zip_longest

from services.retrieve.domain.hits import Hit

# In one round, so that a question costs a handful of searches at most.
MAX_SEARCHES = 4
# Hits of each search that are looked at for what the question names.
ANCHORS = 3
# Of one passage: "son of A and B" names two.
MAX_NAMES = 2
MAX_NAME_WORDS = 8
# From a word that tells the relation to the name: about a clause.
REACH_CHARACTERS = 80

# What is asked by, and how passages say it: plainly, and where nothing does, so that it may be it.
_RELATIONS = {
    r"directors?": (r"direct\w*", r"by"),
    r"(?:performer|singer|artist|musician)s?": (r"sung|perform\w*|record\w*|song|single", r"by"),
    r"composers?": (r"compos\w*|music|score\w*", r"writ\w*|wrote|song|by"),
    r"(?:author|writer|screenwriter)s?": (r"author\w*|writ\w*|wrote", r"by"),
    r"producers?": (r"produc\w*", r"by"),
    r"(?:creator|inventor|designer|architect|developer)s?": (r"creat\w*|invent\w*|design\w*|develop\w*", r"by"),
    r"founders?": (r"found\w*|established|started", r"by"),
    r"(?:step-?)?(?:mother|father|parent)s?": (
        r"sons? of|daughters? of|child\w* of|born to|mother|father",
        r"parents?",
    ),
    r"(?:wife|husband|spouse|widow|widower)s?": (r"marri\w*|wife|husband|spouse|widow\w*", r"consort|queen|betroth\w*"),
    r"(?:child|children|son|daughter)s?": (r"sons?|daughters?|child\w*|father of|mother of", r"issue"),
    r"(?:sibling|brother|sister)s?": (r"brothers?|sisters?|siblings?", r"sons?|daughters?"),
    r"grand-?(?:mother|father|parent|child|children|son|daughter)s?": (r"sons?|daughters?|child\w*", r"father|mother"),
    r"(?:mother|father|parent)s?-in-law": (r"marri\w*|wife|husband|spouse", r"sons?|daughters?"),
    r"(?:child|children|son|daughter|brother|sister)s?-in-law": (r"sons?|daughters?|child\w*", r"marri\w*"),
    r"(?:owner|manager|boss|employer|head|leader|chief|chair|president|ceo)s?": (
        r"own\w*|manag\w*|report\w*|head\w*|led|lead\w*|chair\w*|president|ceo",
        r"by",
    ),
    r"(?:publisher|manufacturer|maker|supplier|vendor|customer)s?": (
        r"publish\w*|ma[dk]e\w*|suppl\w*|vendor|sold",
        r"by",
    ),
}
_CUES = [
    (re.compile(rf"\b(?:{asked})\b", re.IGNORECASE), [re.compile(rf"\b(?:{said})\b", re.IGNORECASE) for said in told])
    for asked, told in _RELATIONS.items()
]
_COMPARED = re.compile(
    r"\b(?:both|same|first|earlier|earliest|later|latest|last|older|younger|longer|more|less|between|share|differ\w*)\b",
    re.IGNORECASE,
)
_INNER = r"(?:of|the|de|du|des|la|le|van|von|der|den|bin|ibn|al|el|di|da|mac|y|und|et)"
_CAPITAL = r"(?:[\"“'(]?[A-ZÀ-ÖØ-ÞĀ-Ž0-9][^\s,;?]*|[-\u2013&]|\([^)]{0,80}\))"
_NAME = re.compile(rf"{_CAPITAL}(?:\s+(?:{_INNER}\s+){{0,2}}{_CAPITAL})*")
# In a question, what is between commas and capitals is one name as a rule: "Henry, Duke of Saxony".
_ASKED_NAME = re.compile(rf"{_CAPITAL}(?:,?\s+(?:{_INNER}\s+){{0,2}}{_CAPITAL})*")
# A possessive, or the end of a sentence but not of an initial or a title: there a name ends.
_END = re.compile(r"['\u2019]s(?=\W|$)|(?<=\w{3})[.!?:](?=\s|$)")
_SENTENCE_END = re.compile(r"(?<=\w{3})[.!?](?=\s|$)")
# How English questions begin: capitals that begin no name.
_OPENING = re.compile(
    r"^(?:(?:who|what|which|where|when|why|how|whose|whom|are|is|was|were|do|does|did|has|have|had|can|in|on|at)\b\s*)+",
    re.IGNORECASE,
)
_NO_NAMES = frozenset(
    {"he", "she", "it", "they", "his", "her", "its", "their", "this", "that", "these", "the", "in", "on", "at", "a"}
    | {"an", "as", "after", "before", "during", "from", "with", "when", "while", "january", "february", "march"}
    | {"april", "may", "june", "july", "august", "september", "october", "november", "december"}
)
# "American", "Danish", "French": of one word, nobody is called so in a passage about somebody else.
_PEOPLES = re.compile(r"[\w-]*(?:[aeiou]an|can|ish|ese|rench|utch|erman|reek)")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Searched:
    """A search that was made, and its hits, best first."""

    query: str
    hits: Sequence[Hit]


def further_searches(question: str, searches: Sequence[Searched]) -> list[str]:
    """Return what to search for next, of a question that was searched for already; nothing where that is enough.

    `searches` are those made so far, the question's own first.
    """
    named = _names_in(_OPENING.sub("", question), _ASKED_NAME)
    cues = [told for asked, told in _CUES if asked.search(question)]
    compared = _compared(question, named)
    if not named or not (cues or compared):
        return []
    wanted: list[str] = [*compared]
    related = []
    for number, searched in enumerate(searches):
        about = [searched.query] if number else named
        anchors = [hit for hit in searched.hits[:ANCHORS] if any(_is_about(hit, name) for name in about)]
        related += [_related(hit, cues, question) for hit in anchors]
        if not number and not anchors:
            # The question's other words were stronger than the name.
            wanted += named
    wanted += [name for turn in zip_longest(*related) for name in turn if name]
    made = {_plain(searched.query) for searched in searches}
    fresh = {_plain(text): text for text in reversed(wanted) if _plain(text) not in made}
    return list(fresh.values())[::-1][:MAX_SEARCHES]


def _compared(question: str, named: Sequence[str]) -> Sequence[str]:
    """Return what a question compares: two names with "or" between them, or with "and" and a word that compares."""
    for one, other in pairwise(named):
        between = question[question.find(one) + len(one) : question.find(other)].strip(" ,")
        if between == "or" or (between == "and" and _COMPARED.search(question)):
            return (one, other)
    return ()


def _related(hit: Hit, cues: Sequence[Sequence[re.Pattern[str]]], question: str) -> list[str]:
    """Return whom a passage names close behind words that tell a relation that is asked for."""
    found: list[str] = []
    for told in cues:
        names = next(filter(None, (_names_behind(said, hit, question) for said in told)), [])
        found += [name for name in names if name not in found]
    return found


def _names_behind(said: re.Pattern[str], hit: Hit, question: str) -> list[str]:
    asked = _plain(question)
    behind = (hit.text[match.end() : match.end() + REACH_CHARACTERS] for match in said.finditer(hit.text))
    # Whom the next sentence names, it names in something else.
    names = (name for text in behind for name in _names_in(_SENTENCE_END.split(text, maxsplit=1)[0], _NAME))
    other = (name for name in names if _plain(name) not in asked and not _is_about(hit, name))
    return list(dict.fromkeys(other))[:MAX_NAMES]


def _names_in(text: str, pattern: re.Pattern[str]) -> list[str]:
    found = (name for part in _END.split(text) for name in pattern.findall(part))
    return [name for name in (name.strip("\"“”'.,: ") for name in found) if _is_name(name)]


def _is_name(name: str) -> bool:
    words = _WORD.findall(name.casefold())
    return bool(words) and not (
        len(words) > MAX_NAME_WORDS
        or _NO_NAMES.issuperset(words)
        or all(word.isdigit() for word in words)
        or _PEOPLES.fullmatch(name)
    )


def _is_about(hit: Hit, name: str) -> bool:
    """Return whether a hit's title is the name, or what it is called without what tells it from its namesakes."""
    title, wanted = _plain(hit.title), _plain(name)
    short = _plain(hit.title.partition(" (")[0])
    return bool(title) and (wanted in {title, short} or _plain(name.partition(" (")[0]) == short)


def _plain(text: str) -> str:
    return " ".join(_WORD.findall(text.casefold()))


def interleaved(searches: Sequence[Searched]) -> list[Hit]:
    """Return the hits of all searches, each once, so that the best of each come first; scores never rise.

    Of a further search, which is for a name, the passage that has it as its title is the best.
    """
    rankings = [searches[0].hits, *(_titled_first(searched) for searched in searches[1:])]
    turns = [hit for turn in zip_longest(*rankings) for hit in turn if hit]
    first = {hit.chunk_id: hit for hit in reversed(turns)}
    return list(_descending([first[chunk_id] for chunk_id in dict.fromkeys(hit.chunk_id for hit in turns)]))


def _titled_first(searched: Searched) -> list[Hit]:
    return sorted(searched.hits, key=lambda hit: not _is_about(hit, searched.query))


def _descending(hits: Sequence[Hit]) -> Iterator[Hit]:
    ceiling = float("inf")
    for hit in hits:
        ceiling = min(ceiling, hit.score)
        yield hit if hit.score == ceiling else replace(hit, score=ceiling)
