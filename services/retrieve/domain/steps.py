"""Questions that one search does not answer, taken apart by rule.

Two shapes, in English: a comparison ("Which came first, A or B?") is searched once for each of what it
compares; a relation ("Where was the director of A born?") goes on from the passage about A to whom that
passage names in it. Nothing is generated: whatever is searched for stands in the question or in a passage.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from services.retrieve.domain.hits import Hit

# In one round, so that a question costs a handful of searches at most.
MAX_SEARCHES = 4
# Passages looked at for what they are about, of each search.
ANCHORS = 3
# Of one passage: "son of A and B" names two.
MAX_NAMES = 2
MAX_NAME_WORDS = 8
# From a word that tells the relation to the name: about a clause.
REACH_CHARACTERS = 90

Searched = tuple[str, Sequence[Hit]]

# What is asked by, and how passages say it.
_RELATIONS = {
    r"directors?": r"direct\w*",
    r"(?:performer|singer|artist|musician)s?": r"song|single|album|by|sung|perform\w*|record\w*",
    r"composers?": r"compos\w*|music|score\w*|written|wrote|song|by",
    r"(?:author|writer|screenwriter)s?": r"author\w*|writ\w*|wrote|novel|book|by",
    r"producers?": r"produc\w*",
    r"(?:creator|inventor|designer|architect|developer)s?": r"creat\w*|invent\w*|design\w*|develop\w*|by",
    r"(?:founder|founders)": r"found\w*|established|started",
    r"(?:mother|father|parent|step-?mother|step-?father)s?": r"sons?|daughters?|child\w*|born to|mother|father|parents?",
    r"(?:wife|husband|spouse|widow|widower)s?": r"marri\w*|wife|husband|spouse|widow\w*|consort|queen|betroth\w*",
    r"(?:child|children|son|daughter)s?": r"sons?|daughters?|child\w*|father of|mother of|issue",
    r"(?:sibling|brother|sister)s?": r"brothers?|sisters?|siblings?|sons?|daughters?",
    r"grand-?(?:mother|father|parent|child|children|son|daughter)s?": r"sons?|daughters?|child\w*|father|mother",
    r"(?:mother|father|parent|child|son|daughter|brother|sister)s?-in-law": (
        r"marri\w*|wife|husband|sons?|daughters?|father|mother"
    ),
    r"(?:owner|manager|boss|employer|head|leader|chief|chair|president|ceo)s?": (
        r"own\w*|manag\w*|report\w*|head\w*|led|lead\w*|chair\w*|president|ceo"
    ),
    r"(?:publisher|manufacturer|maker|supplier|vendor|customer)s?": r"publish\w*|ma[dk]e\w*|suppl\w*|vendor|sold|customer",
}
_RELATION = re.compile(rf"\b(?:{'|'.join(_RELATIONS)})\b", re.IGNORECASE)
_CUES = [
    (re.compile(rf"(?:{asked})", re.IGNORECASE), re.compile(rf"\b(?:{told})\b", re.IGNORECASE))
    for asked, told in _RELATIONS.items()
]
_COMPARED = re.compile(
    r"\b(?:both|same|first|earlier|earliest|later|latest|last|older|younger|longer|more|less|between|share|differ\w*)\b",
    re.IGNORECASE,
)
# Small words that stand inside of names, between capitals.
_INNER = r"(?:of|the|de|du|des|la|le|van|von|der|den|bin|ibn|al|el|di|da|and|for|in|on|at|to)"
_CAPITAL = r"(?:[\"“']?[A-ZÀ-ÖØ-ÞĀ-Ž0-9(][^\s,;?]*)"
_NAME = re.compile(rf"{_CAPITAL}(?:\s+(?:{_INNER}\s+){{0,2}}{_CAPITAL})*")
# How English questions begin; in a title-cased question nothing else tells them from names.
_OPENING = re.compile(
    r"^(?:who|what|which|where|when|why|how|whose|whom|are|is|was|were|do|does|did|has|have|had|can|in|on|at|the)\b\s*",
    re.IGNORECASE,
)
_NO_NAMES = frozenset(
    "he she it they his her its their this that these in on at the a an as after before during from with when while"
    " january february march april may june july august september october november december".split()
)


def further_searches(question: str, searches: Sequence[Searched]) -> list[str]:
    """Return what to search for next, of a question that was searched for already; nothing where that is enough.

    `searches` are those made so far, the question's own first, each with its hits, best first.
    """
    return []


def interleaved(rankings: Sequence[Sequence[Hit]]) -> list[Hit]:
    """Return the hits of all searches, each once, so that the best of each come first; scores never rise."""
    if len(rankings) == 1:
        merged = list(rankings[0])
    else:
        longest = max(map(len, rankings))
        turns = (ranking[turn] for turn in range(longest) for ranking in rankings if turn < len(ranking))
        merged = list({hit.chunk_id: hit for hit in reversed(list(turns))}.values())[::-1]
    return list(_descending(merged))


def _descending(hits: Sequence[Hit]) -> Iterator[Hit]:
    ceiling = float("inf")
    for hit in hits:
        ceiling = min(ceiling, hit.score)
        yield hit if hit.score == ceiling else replace(hit, score=ceiling)
