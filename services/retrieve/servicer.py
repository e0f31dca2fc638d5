"""The gRPC faces of retrieval and of its tuning."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
from tandem.erasure.v1 import erasure_service_pb2 as erasure_pb
from tandem.erasure.v1 import erasure_service_pb2_grpc as erasure_rpc
from tandem.retrieve.v1 import retrieve_service_pb2 as pb
from tandem.retrieve.v1 import retrieve_service_pb2_grpc as rpc
from tandem.retrieve.v1 import tuning_service_pb2 as tuning_pb
from tandem.retrieve.v1 import tuning_service_pb2_grpc as tuning_rpc

from services.common.erasing import subjects_of
from services.common.identity import Identity, caller
from services.common.pages import InvalidPage, key_of, page_size_of, token_of
from services.retrieve.domain.passages import current, passages_of
from services.retrieve.domain.query import Filter, chunk_ids_of, document_ids_of, query_of, steps_of
from services.retrieve.finding import Finder
from services.retrieve.judging import Judge
from services.retrieve.messages import (
    answer_message,
    filter_of,
    judgements_of,
    passage_message,
    tuning_message,
    tuning_of,
)
from services.retrieve.ports import Tunings
from services.retrieve.searching import Asked, Searcher, Shown

RETRIEVE = pb.DESCRIPTOR.services_by_name["RetrieveService"].full_name
TUNING = tuning_pb.DESCRIPTOR.services_by_name["TuningService"].full_name
ERASURE = erasure_pb.DESCRIPTOR.services_by_name["ErasureService"].full_name

# Only the model's name is wanted: the collection goes by it.
_ANY_TEXT = "passages"


class RetrieveServicer(rpc.RetrieveServiceServicer):
    """Finds passages, and reads them again."""

    def __init__(self, finder: Finder, searcher: Searcher) -> None:
        self._finder = finder
        self._searcher = searcher

    async def Retrieve(self, request: pb.RetrieveRequest, context: Any) -> pb.RetrieveResponse:
        asked = Asked(
            query_of(request.query, request.top_k, filter_of(request.filter)),
            request.widen,
            steps_of(request.steps),
            tuning_of(request.tuning) if request.HasField("tuning") else None,
            request.other_index,
        )
        return answer_message(await self._searcher.search(caller(), asked, context))

    async def GetPassages(self, request: pb.GetPassagesRequest, context: Any) -> pb.GetPassagesResponse:
        identity, chunk_ids = caller(), chunk_ids_of(tuple(request.chunk_ids))
        chosen = await self._finder.chosen(identity)
        embedded, reader = await asyncio.gather(
            self._finder.embedded(_ANY_TEXT, identity, chosen, context), self._finder.reader(identity, chosen)
        )
        found, public = await self._finder.chunks(reader, embedded.model, chunk_ids)
        shown = {hit.chunk_id: hit for hit in current([hit for hit in found.hits if hit.document_id in public])}
        # Each alone: asked for by its chunk, none is merged with a neighbour.
        passages = [passages_of([shown[one]], 1)[0] for one in chunk_ids if one in shown]
        return pb.GetPassagesResponse(
            passages=[passage_message(Shown(passage, (), public)) for passage in passages],
            index_version=found.index_version,
        )

    async def GetDocuments(self, request: pb.GetDocumentsRequest, context: Any) -> pb.GetDocumentsResponse:
        identity, document_ids = caller(), document_ids_of(tuple(request.document_ids))
        sources = Filter(sources=tuple(request.sources)).sources
        chosen = await self._finder.chosen(identity)
        embedded, reader = await asyncio.gather(
            self._finder.embedded(_ANY_TEXT, identity, chosen, context), self._finder.reader(identity, chosen)
        )
        found = [await self._finder.document(reader, embedded.model, each, sources) for each in document_ids]
        public = await self._finder.readable(identity, [hit for each in found for hit in each.hits])
        passages = [passages_of([hit], 1)[0] for each in found for hit in each.hits if hit.document_id in public]
        return pb.GetDocumentsResponse(
            passages=[passage_message(Shown(passage, (), public)) for passage in passages],
            index_version=found[0].index_version,
        )


class TuningServicer(tuning_rpc.TuningServiceServicer):
    """Keeps how tenants' searches rank."""

    def __init__(self, tunings: Tunings, judge: Judge) -> None:
        self._tunings = tunings
        self._judge = judge

    async def GetTuning(self, request: tuning_pb.GetTuningRequest, context: Any) -> tuning_pb.GetTuningResponse:
        version, who = request.version, caller()
        kept = await (self._tunings.version(who, version) if version else self._tunings.live(who))
        return tuning_pb.GetTuningResponse(tuning=tuning_message(kept))

    async def ListTunings(self, request: tuning_pb.ListTuningsRequest, context: Any) -> tuning_pb.ListTuningsResponse:
        size, before = page_size_of(request.page_size), _version_in(request.page_token)
        found = await self._tunings.before(caller(), before, size + 1)
        shown = found[:size]
        token = token_of(str(shown[-1].version)) if len(found) > size else ""
        return tuning_pb.ListTuningsResponse(tunings=map(tuning_message, shown), next_page_token=token)

    async def PutTuning(self, request: tuning_pb.PutTuningRequest, context: Any) -> tuning_pb.PutTuningResponse:
        tuning, expected = tuning_of(request.tuning), request.expected_version
        kept = await self._tunings.put(caller(), tuning, expected)
        return tuning_pb.PutTuningResponse(tuning=tuning_message(kept))

    async def LearnDenseShare(
        self, request: tuning_pb.LearnDenseShareRequest, context: Any
    ) -> tuning_pb.LearnDenseShareResponse:
        learnt = await self._judge.learn(caller(), judgements_of(request), context)
        return tuning_pb.LearnDenseShareResponse(
            dense_share=learnt.dense_share,
            used=learnt.used,
            learnt_quality=learnt.learnt_quality,
            quality=learnt.quality,
        )


class ErasureServicer(erasure_rpc.ErasureServiceServicer):
    """Removes a tenant's tunings; of people there is nothing."""

    def __init__(self, erase: Callable[[Identity], Awaitable[int]]) -> None:
        self._erase = erase

    async def Erase(self, request: erasure_pb.EraseRequest, context: Any) -> erasure_pb.EraseResponse:
        removed = 0 if subjects_of(request) else await self._erase(caller())
        counts = [erasure_pb.Removed(kind="tunings", count=removed)] if removed else []
        return erasure_pb.EraseResponse(removed=counts, done=not removed)


@dataclass(frozen=True, slots=True)
class Faces:
    """Every service that this process serves."""

    retrieve: RetrieveServicer
    tuning: TuningServicer
    erasure: ErasureServicer

    def register(self, server: grpc.aio.Server) -> None:
        """Add them to a server."""
        rpc.add_RetrieveServiceServicer_to_server(self.retrieve, server)
        tuning_rpc.add_TuningServiceServicer_to_server(self.tuning, server)
        erasure_rpc.add_ErasureServiceServicer_to_server(self.erasure, server)


def _version_in(token: str) -> int | None:
    """Return the version that a page begins under; None for the first page."""
    key = key_of(token)
    # As many digits as a version has at most: a longer number is no version.
    if not re.fullmatch(r"[0-9]{0,18}", key, re.ASCII):
        raise InvalidPage("the page token is not one of ours")
    return int(key) if key else None
