"""Questions whose right documents are known, searched to learn from."""

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

from services.common.identity import Identity
from services.retrieve.domain.fusion import legs_of
from services.retrieve.domain.hits import Reader
from services.retrieve.domain.learning import Judged, Learnt, check_judgements, learn_share
from services.retrieve.domain.query import MAX_TOP_K, Filter, Query, query_of
from services.retrieve.domain.tuning import Tuning
from services.retrieve.finding import Finder
from services.retrieve.ports import Tunings

# Searches at once: questions of people go on meanwhile.
AT_ONCE = 4


class Judge:
    """Learns how a tenant's searches should rank, from what its people found right."""

    def __init__(self, finder: Finder, tunings: Tunings) -> None:
        self._finder = finder
        self._tunings = tunings

    async def learn(
        self, identity: Identity, judgements: Sequence[tuple[str, Collection[str]]], context: Any
    ) -> Learnt:
        """Return which dense share is best for the judged questions, searched as `identity`.

        Raises:
            InvalidJudgements, EmptyQuery, QueryTooLong: they cannot be searched for.
        """
        check_judgements(judgements)
        queries = [query_of(text, MAX_TOP_K, Filter()) for text, _ in judgements]
        chosen = await self._finder.chosen(identity)
        reader, kept = await self._finder.reader(identity, chosen), await self._tunings.live(identity)
        turn = asyncio.Semaphore(AT_ONCE)

        async def judged(query: Query, right: Collection[str]) -> Judged:
            async with turn:
                return await self._judged(reader, query, right, kept.tuning, context)

        pairs = zip(queries, (right for _, right in judgements), strict=True)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(judged(query, right)) for query, right in pairs]
        return await asyncio.to_thread(learn_share, [task.result() for task in tasks])

    async def _judged(
        self, reader: Reader, query: Query, right: Collection[str], tuning: Tuning, context: Any
    ) -> Judged:
        embedded = await self._finder.embedded(query.text, reader.identity, reader.chosen, context)
        found = await self._finder.find(reader, query, embedded, tuning)
        documents = [hit.document_id for hit in found.hits]
        return Judged(legs_of(found.hits, found.stems), documents, right, found.dense_share)
