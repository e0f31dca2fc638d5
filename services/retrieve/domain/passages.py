"""How chunks that were hit become passages."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.retrieve.domain.hits import Hit

_Ranked = tuple[int, Hit]


@dataclass(frozen=True, slots=True)
class Passage:
    """Neighbouring hits as one text, from the first's start to `end_offset`; `rank` is the best's among the hits."""

    hits: tuple[Hit, ...]
    best: Hit
    text: str
    end_offset: int
    suspicions: tuple[str, ...]
    rank: int

    @property
    def first(self) -> Hit:
        """The hit that the passage begins with."""
        return self.hits[0]


def passages_of(hits: Sequence[Hit], top_k: int) -> list[Passage]:
    """Return at most `top_k` passages, best first, from `hits`, best first.

    Only hits that are needed for `top_k` passages are used, so that a worse hit never
    makes a passage longer. Of a document found in two versions the newer is kept.
    """
    hits = current(hits)
    taken = top_k
    while True:
        passages = _merged(hits[:taken])
        # Each further hit makes at most one more passage, so this never gives too many.
        missing = top_k - len(passages)
        if missing == 0 or taken >= len(hits):
            return passages
        taken += missing


def current(hits: Sequence[Hit]) -> list[Hit]:
    """Return the hits without those of a version of which a newer one is among them."""
    newest: dict[str, int] = {}
    for hit in hits:
        newest[hit.document_id] = max(hit.version, newest.get(hit.document_id, hit.version))
    return [hit for hit in hits if hit.version == newest[hit.document_id]]


def _merged(hits: Sequence[Hit]) -> list[Passage]:
    documents: defaultdict[str, list[_Ranked]] = defaultdict(list)
    for ranked in enumerate(hits):
        documents[ranked[1].document_id].append(ranked)
    passages = [passage for chunks in documents.values() for passage in _runs(chunks)]
    return sorted(passages, key=lambda passage: passage.rank)


def _runs(hits: list[_Ranked]) -> Iterator[Passage]:
    """Yield the passages of one document's hits."""
    in_order = sorted(hits, key=lambda ranked: (ranked[1].start_offset, ranked[1].ordinal))
    previous = in_order[0][1]
    passage = _begun(*in_order[0])
    for rank, hit in in_order[1:]:
        if hit.ordinal == previous.ordinal + 1 or hit.start_offset < passage.end_offset:
            passage = _extended(passage, rank, hit)
        else:
            yield passage
            passage = _begun(rank, hit)
        previous = hit
    yield passage


def _begun(rank: int, hit: Hit) -> Passage:
    return Passage((hit,), hit, hit.text, hit.end_offset, hit.suspicions, rank)


def _extended(passage: Passage, rank: int, hit: Hit) -> Passage:
    best = hit if rank < passage.rank else passage.best
    end_offset = max(passage.end_offset, hit.end_offset)
    suspicions = tuple(dict.fromkeys((*passage.suspicions, *hit.suspicions)))
    hits = (*passage.hits, hit)
    return Passage(hits, best, _joined(passage, hit), end_offset, suspicions, min(rank, passage.rank))


def _joined(passage: Passage, hit: Hit) -> str:
    # A chunk's text ends with the document's characters; a part of a table has its header before them.
    own = hit.text[-(hit.end_offset - hit.start_offset) :]
    overlap = passage.end_offset - hit.start_offset
    # What parts two chunks is blank: at most a paragraph's end is put back.
    return passage.text + "\n" * min(-overlap, 2) + own[max(overlap, 0) :]
