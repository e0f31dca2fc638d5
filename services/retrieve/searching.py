"""A question's whole way: searched, in steps where it needs them, reranked, and made into passages."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from services.common.faults import described
from services.common.identity import Identity
from services.retrieve.domain.duplicates import Distinct, distinct
from services.retrieve.domain.hits import Hit, Reader
from services.retrieve.domain.passages import Passage, current, passages_of
from services.retrieve.domain.query import Query
from services.retrieve.domain.steps import Searched, further_searches, interleaved
from services.retrieve.domain.tuning import InvalidTuning, KeptTuning, Tuning
from services.retrieve.domain.weighting import weighted
from services.retrieve.domain.widening import sections_of, widened
from services.retrieve.finding import Candidates, Finder
from services.retrieve.metrics import COLLAPSED, DUPLICATES, FURTHER, STEPS, TUNING, WIDEN, answered, stage
from services.retrieve.ports import Tunings
from services.retrieve.reranking import Reranking

# Of what is left of the call's deadline, for all further searches together.
FURTHER_SHARE = 0.5
FURTHER_SECONDS = 3.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request wants. `steps` 0 leaves them to the tuning; `tuning` is tried instead of the tenant's own.

    `other_index` is the index beside the live one.
    """

    query: Query
    widen: bool = False
    steps: int = 0
    tuning: Tuning | None = None
    other_index: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """A passage with the other places where it stands, and which documents everybody may read."""

    passage: Passage
    places: Sequence[Hit]
    public: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a search came to."""

    shown: Sequence[Shown]
    index_version: str
    model: str
    searches: Sequence[str]
    dense_share: float
    tuning_version: int
    reranked: int


class Searcher:
    """Answers searches; `now_ms` is Unix time, for the age of passages."""

    def __init__(self, finder: Finder, tunings: Tunings, reranking: Reranking, now_ms: Callable[[], int]) -> None:
        self._finder = finder
        self._tunings = tunings
        self._reranking = reranking
        self._now_ms = now_ms

    async def search(self, identity: Identity, asked: Asked, context: Any) -> Answer:
        """Return what answers `asked` best of what `identity` may read."""
        chosen = await self._finder.chosen(identity, other=asked.other_index)
        # Where one fails the others end by themselves: all have limits of seconds.
        embedded, reader, kept = await asyncio.gather(
            self._finder.embedded(asked.query.text, identity, chosen, context),
            self._finder.reader(identity, chosen),
            self._tuning(identity, asked.tuning),
        )
        first = self._weighted(await self._finder.find(reader, asked.query, embedded, kept.tuning), kept.tuning)
        reranked = await self._reranking.rerank(asked.query.text, first.hits, kept.tuning, context.time_remaining())
        first = replace(first, hits=reranked.hits)
        found = [first, *await self._further(reader, asked, first, kept.tuning, context)]
        public = {name: open_to_all for one in found for name, open_to_all in one.public.items()}
        passages, single = await self._passages(reader, asked, found)
        answered(len(passages))
        return Answer(
            [Shown(passage, _places(passage, single), public) for passage in passages],
            first.index_version,
            first.model,
            [one.query for one in found],
            first.dense_share,
            kept.version,
            reranked.count,
        )

    async def _tuning(self, identity: Identity, tried: Tuning | None) -> KeptTuning:
        with stage(TUNING):
            live = await self._tunings.live(identity)
        if tried is None:
            return live
        if tried.reranker not in {"", live.tuning.reranker}:
            # Whatever else a reader could name, it might be another tenant's.
            raise InvalidTuning("only the live reranker can be tried with a search")
        return KeptTuning(0, tried, None)

    def _weighted(self, candidates: Candidates, tuning: Tuning) -> Candidates:
        return replace(candidates, hits=weighted(candidates.hits, tuning, self._now_ms()))

    async def _further(
        self, reader: Reader, asked: Asked, first: Candidates, tuning: Tuning, context: Any
    ) -> list[Candidates]:
        """Return what further searches found; those that fail or are late are left out."""
        found: list[Candidates] = []
        left = context.time_remaining()
        limit = FURTHER_SECONDS if left is None else min(FURTHER_SECONDS, left * FURTHER_SHARE)
        try:
            with stage(STEPS):
                async with asyncio.timeout(limit):
                    for _ in range((asked.steps or tuning.max_steps) - 1):
                        wanted = further_searches(asked.query.text, _searched([first, *found]))
                        if not wanted:
                            break
                        every = [self._one_more(reader, asked.query, text, tuning, context) for text in wanted]
                        found += [one for one in await asyncio.gather(*every) if one]
        except TimeoutError:
            FURTHER.labels("late").inc()
        return found

    async def _one_more(
        self, reader: Reader, query: Query, text: str, tuning: Tuning, context: Any
    ) -> Candidates | None:
        try:
            embedded = await self._finder.embedded(text, reader.identity, reader.chosen, context)
            found = await self._finder.find(reader, replace(query, text=text), embedded, tuning)
        except Exception as error:  # noqa: BLE001 - the question is answered without it, whatever is wrong with it
            FURTHER.labels("failed").inc()
            log.warning("further_search_failed", error=described(error))
            return None
        FURTHER.labels("found" if found.hits else "nothing").inc()
        return self._weighted(found, tuning)

    async def _passages(
        self, reader: Reader, asked: Asked, found: Sequence[Candidates]
    ) -> tuple[Sequence[Passage], Distinct]:
        hits = current(interleaved(_searched(found)))
        with stage(DUPLICATES):
            single = distinct(hits, asked.query.enough)
        COLLAPSED.inc(sum(map(len, single.copies.values())))
        passages = passages_of(single.hits, asked.query.top_k)
        sections = sections_of(passages) if asked.widen else []
        if sections:
            with stage(WIDEN):
                passages = widened(passages, await self._finder.sections(reader, found[0].model, sections))
        return passages, single


def _searched(found: Sequence[Candidates]) -> list[Searched]:
    return [Searched(one.query, one.hits) for one in found]


def _places(passage: Passage, single: Distinct) -> list[Hit]:
    """Return where else a passage stands: one place a document."""
    copies = (copy for hit in passage.hits for copy in single.copies.get(hit.chunk_id, ()))
    return list({copy.document_id: copy for copy in copies if copy.document_id != passage.first.document_id}.values())
