"""Hits widened to the section that they are in, as far as it stays short enough."""

from collections import defaultdict
from collections.abc import Sequence

from services.retrieve.domain.hits import Hit, Section
from services.retrieve.domain.passages import Passage, passages_of

# About a thousand tokens: a section that is longer is given around the hit.
BUDGET_CHARACTERS = 4000


def sections_of(passages: Sequence[Passage]) -> list[Section]:
    """Return the sections that the passages' best hits are in, each once; none of a section that is one chunk."""
    sections = (
        Section(best.document_id, best.version, best.section_first, best.section_last)
        for best in (passage.best for passage in passages)
        if best.section_first < best.section_last
    )
    return list(dict.fromkeys(sections))


def widened(passages: Sequence[Passage], around: Sequence[Hit]) -> list[Passage]:
    """Return the passages with the chunks around them from `around`, which may be of any section.

    Passages that come to touch become one, at the better's place.
    """
    chunks: defaultdict[tuple[str, int], dict[int, Hit]] = defaultdict(dict)
    for hit in around:
        chunks[hit.document_id, hit.version][hit.ordinal] = hit
    # The best of all come first, so that each passage keeps its rank, and its best its scores.
    bests = [passage.best for passage in passages]
    others = [hit for passage in passages for hit in passage.hits]
    near = [hit for best in bests for hit in _near(best, chunks[best.document_id, best.version])]
    unique = {hit.chunk_id: hit for hit in reversed([*bests, *others, *near])}
    in_order = [unique[chunk_id] for chunk_id in dict.fromkeys(hit.chunk_id for hit in [*bests, *others, *near])]
    return passages_of(in_order, len(in_order))


def _near(best: Hit, chunks: dict[int, Hit]) -> list[Hit]:
    """Return the chunks of a section around its hit, nearest first, without a gap and within the budget."""
    left, taken = BUDGET_CHARACTERS - len(best.text), []
    before, after = best.ordinal - 1, best.ordinal + 1
    while left > 0:
        room = [one for one in (after, before) if _is_in(best, one) and one in chunks and len(chunks[one].text) <= left]
        if not room:
            break
        chosen = min(room, key=lambda ordinal: abs(ordinal - best.ordinal))
        taken.append(chunks[chosen])
        left -= len(chunks[chosen].text)
        before, after = (before, after + 1) if chosen == after else (before - 1, after)
    return taken


def _is_in(best: Hit, ordinal: int) -> bool:
    return best.section_first <= ordinal <= best.section_last
