"""The gRPC face of data sets and their builds."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from tandem.tune.v1 import dataset_service_pb2 as pb
from tandem.tune.v1 import dataset_service_pb2_grpc as rpc

from services.common.identity import Identity, caller
from services.common.pages import InvalidPage, key_of, page_size_of, token_of
from services.common.permissions import Permissions
from services.tune.adapters.dataset_messages import build_message, dataset_message, order_of, upload_of
from services.tune.dataset_worker import Books
from services.tune.datasets.errors import DatasetErased, DatasetNotFound, InvalidDatasetBuild, UnknownSplit
from services.tune.datasets.parameters import MAX_TEXT_CHARS
from services.tune.datasets.reading import rows_in
from services.tune.datasets.report import documents_in, shown_to
from services.tune.datasets.rows import Kind, record_of
from services.tune.datasets.splitting import SPLITS, TRAIN
from services.tune.datasets.store import REPORT
from services.tune.domain.datasets import KeptDataset
from services.tune.domain.runs import Position, position_of
from services.tune.evaluating import Clock

DATASET = pb.DESCRIPTOR.services_by_name["DatasetService"].full_name
# A page of rows ends early rather than outgrow a gRPC message.
PAGE_BYTES = 16 * 1024 * 1024
_MOST_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Desk:
    """Who is told of a new build, and what is told of time and ids."""

    wake: Callable[[], None]
    clock: Clock


class DatasetServicer(rpc.DatasetServiceServicer):
    def __init__(self, books: Books, permissions: Permissions, desk: Desk) -> None:
        self._books = books
        self._permissions = permissions
        self._desk = desk

    async def StartDatasetBuild(
        self, request: pb.StartDatasetBuildRequest, context: Any
    ) -> pb.StartDatasetBuildResponse:
        clock = self._desk.clock
        build = await self._books.builds.add(order_of(request, caller()), clock.new_id(), clock.now())
        self._desk.wake()
        return pb.StartDatasetBuildResponse(build=build_message(build))

    async def UploadDataset(self, request: pb.UploadDatasetRequest, context: Any) -> pb.UploadDatasetResponse:
        who, clock = caller(), self._desk.clock
        key = clock.new_id()
        order = upload_of(request, who, key)
        if len(request.file_name) > MAX_TEXT_CHARS:
            raise InvalidDatasetBuild(f"a file's name has at most {MAX_TEXT_CHARS} characters")
        records = await asyncio.to_thread(_records, order.kind, request.file_name, request.content)
        if made := await self._books.builds.made(who, order.request_id):
            return pb.UploadDatasetResponse(build=build_message(made))
        await self._books.store.put_upload(who.tenant_id, key, records)
        build = await self._books.builds.add(order, key, clock.now())
        self._desk.wake()
        return pb.UploadDatasetResponse(build=build_message(build))

    async def GetDatasetBuild(self, request: pb.GetDatasetBuildRequest, context: Any) -> pb.GetDatasetBuildResponse:
        found = await self._books.builds.find(caller(), request.build_id)
        return pb.GetDatasetBuildResponse(build=build_message(found))

    async def ListDatasetBuilds(
        self, request: pb.ListDatasetBuildsRequest, context: Any
    ) -> pb.ListDatasetBuildsResponse:
        size, after = page_size_of(request.page_size), position_of(request.page_token)
        found = await self._books.builds.page(caller(), after, size + 1)
        ends = [Position(each.created_at, each.build_id) for each in found]
        shown = map(build_message, found[:size])
        return pb.ListDatasetBuildsResponse(builds=shown, next_page_token=_next_token(ends, size))

    async def CancelDatasetBuild(
        self, request: pb.CancelDatasetBuildRequest, context: Any
    ) -> pb.CancelDatasetBuildResponse:
        who = caller()
        build = await self._books.builds.cancel(who, request.build_id, self._desk.clock.now())
        # What was sent goes with the build that it was for.
        await self._books.store.remove_upload(who.tenant_id, build.build_id)
        return pb.CancelDatasetBuildResponse(build=build_message(build))

    async def GetDataset(self, request: pb.GetDatasetRequest, context: Any) -> pb.GetDatasetResponse:
        who = caller()
        [shown] = await self._shown(who, [await self._books.datasets.find(who, request.digest)])
        return pb.GetDatasetResponse(dataset=shown)

    async def ListDatasets(self, request: pb.ListDatasetsRequest, context: Any) -> pb.ListDatasetsResponse:
        size, after = page_size_of(request.page_size), position_of(request.page_token)
        found = await self._books.datasets.page(who := caller(), after, size + 1)
        ends = [Position(each.created_at, each.digest) for each in found]
        shown = await self._shown(who, found[:size])
        return pb.ListDatasetsResponse(datasets=shown, next_page_token=_next_token(ends, size))

    async def GetDatasetReport(self, request: pb.GetDatasetReportRequest, context: Any) -> pb.GetDatasetReportResponse:
        who = caller()
        dataset = await self._there(who, request.digest)
        report = orjson.loads(await self._books.store.file(who.tenant_id, dataset.digest, REPORT))
        report, withheld = shown_to(report, await self._permissions.readable(who, documents_in(report)))
        content = await asyncio.to_thread(_page, report) if request.html else orjson.dumps(report)
        [shown] = await self._shown(who, [dataset])
        return pb.GetDatasetReportResponse(dataset=shown, content=content, withheld=withheld)

    async def ListDatasetRows(self, request: pb.ListDatasetRowsRequest, context: Any) -> pb.ListDatasetRowsResponse:
        size, start = page_size_of(request.page_size), _start(request.page_token)
        split = request.split or TRAIN
        if split not in SPLITS:
            raise UnknownSplit("a data set's parts are train, validation and test")
        who = caller()
        dataset = await self._there(who, request.digest)
        found = await self._books.store.rows(who.tenant_id, dataset.digest, split, start, size)
        page = _fitting(list(map(orjson.dumps, found)))
        documents = {each for row in found[: len(page)] for each in row["documents"]}
        readable = await self._permissions.readable(who, documents)
        shown = [text for row, text in zip(found, page, strict=False) if readable.keys() >= set(row["documents"])]
        end = start + len(page)
        token = token_of(str(end)) if end < getattr(dataset, f"{split}_rows") and page else ""
        return pb.ListDatasetRowsResponse(rows=shown, withheld=len(page) - len(shown), next_page_token=token)

    async def DeleteDataset(self, request: pb.DeleteDatasetRequest, context: Any) -> pb.DeleteDatasetResponse:
        who = caller()
        # Rows first: what is listed and has none can be deleted again.
        with contextlib.suppress(DatasetNotFound):
            await self._books.store.remove(who.tenant_id, request.digest)
        await self._books.datasets.delete(who, request.digest)
        return pb.DeleteDatasetResponse()

    async def _there(self, who: Identity, digest: str) -> KeptDataset:
        dataset = await self._books.datasets.find(who, digest)
        if dataset.erased:
            raise DatasetErased("somebody behind its rows was erased, and its rows with them: build it again")
        return dataset

    async def _shown(self, who: Identity, found: Sequence[KeptDataset]) -> list[pb.Dataset]:
        """Return the data sets with what became of the documents behind them."""
        documents = {document for each in found for document in each.documents}
        existing = await self._permissions.existing(who, documents)
        return [dataset_message(each, sum(one not in existing for one in each.documents)) for each in found]


def _records(kind: Kind, file: str, content: bytes) -> list[dict[str, Any]]:
    return [record_of(row) for row in rows_in(kind, file, content)]


def _page(report: dict[str, Any]) -> bytes:
    # Plots are slow to import, and only some ask for them.
    from services.tune.datasets.page import page_of  # noqa: PLC0415

    return page_of(report).encode()


def _start(token: str) -> int:
    key = key_of(token)
    if not key:
        return 0
    if not key.isascii() or not key.isdigit() or len(key) > _MOST_DIGITS:
        raise InvalidPage("the page token is not one of ours")
    return int(key)


def _fitting(rows: Sequence[bytes]) -> list[str]:
    fitting, left = list[str](), PAGE_BYTES
    for row in rows:
        left -= len(row)
        if left < 0 and fitting:
            break
        fitting.append(row.decode())
    return fitting


def _next_token(ends: Sequence[Position], size: int) -> str:
    """Return the token of the page after the first `size`; "" when that is all."""
    return ends[size - 1].token() if len(ends) > size else ""
