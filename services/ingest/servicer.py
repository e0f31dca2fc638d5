"""IngestService's RPCs."""

import contextlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any
from uuid import uuid4

from tandem.ingest.v1 import ingest_service_pb2 as pb
from tandem.ingest.v1 import ingest_service_pb2_grpc as rpc

from services.common.identity import Identity, caller
from services.common.pages import page_size_of
from services.ingest.acl import Acl, only
from services.ingest.adapters.messages import chunking_of, document_message, files_config_of, source_message, state_of
from services.ingest.adapters.requests import (
    check_chunking,
    check_count,
    check_document_readers,
    check_push,
    check_readers,
    check_source,
    draft_of,
    is_external_id,
    position_of,
    readers_of,
    token_after,
)
from services.ingest.catalog import Catalog
from services.ingest.contents import Contents, Stored
from services.ingest.domain import FILES, Draft, FilesConfig, Source, SourceState
from services.ingest.errors import InvalidSourceConfig, NotAPushSource, PathGone, SourceNotFound
from services.ingest.manifest import Manifest
from services.ingest.runner import SourceRunner
from services.ingest.sync import Syncer


@dataclass(frozen=True, slots=True)
class Parts:
    """What the RPCs are made of. `check` raises unless a path and globs make a source."""

    catalog: Catalog
    manifest: Manifest
    syncer: Syncer
    runner: SourceRunner
    contents: Contents
    acl: Acl
    check: Callable[[FilesConfig], Any]


class IngestServicer(rpc.IngestServiceServicer):
    """Every object is looked up in the caller's tenant."""

    def __init__(self, parts: Parts, now: Callable[[], datetime], max_bytes: int) -> None:
        self._catalog = parts.catalog
        self._manifest = parts.manifest
        self._syncer = parts.syncer
        self._runner = parts.runner
        self._contents = parts.contents
        self._acl = parts.acl
        self._check = parts.check
        self._now = now
        self._max_bytes = max_bytes

    async def CreateSource(self, request: pb.CreateSourceRequest, context: Any) -> pb.CreateSourceResponse:
        identity = caller()
        check_source(request)
        if made := await self._catalog.made(identity, request.request_id):
            return pb.CreateSourceResponse(source=source_message(*made))
        config = files_config_of(request.files) if request.kind == FILES else None
        if config:
            await self._check(config)
        source = Source(
            source_id=uuid4().hex,
            tenant_id=identity.tenant_id,
            name=request.name,
            kind=request.kind,
            readers=readers_of(request.readers) or only(identity.subject),
            owner=identity.subject,
            created_at=self._now(),
            config=config,
            sync_wanted=config is not None,
            chunking=chunking_of(request.chunking),
        )
        counted = await self._catalog.create(identity, source, request.request_id)
        self._runner.wake()
        return pb.CreateSourceResponse(source=source_message(*counted))

    async def GetSource(self, request: pb.GetSourceRequest, context: Any) -> pb.GetSourceResponse:
        source, counts = await self._catalog.find(caller(), request.source)
        failures = await self._catalog.failures(source)
        return pb.GetSourceResponse(
            source=source_message(source, counts), failures=[document_message(*row) for row in failures]
        )

    async def ListSources(self, request: pb.ListSourcesRequest, context: Any) -> pb.ListSourcesResponse:
        size, after = page_size_of(request.page_size), position_of(request.page_token)
        found = await self._catalog.page(caller(), after, size + 1)
        last = found[size - 1][0] if len(found) > size else None
        return pb.ListSourcesResponse(
            sources=[source_message(*counted) for counted in found[:size]],
            next_page_token=token_after(last.name, last.source_id) if last else "",
        )

    async def PauseSource(self, request: pb.PauseSourceRequest, context: Any) -> pb.PauseSourceResponse:
        counted = await self._catalog.pause(caller(), request.source)
        self._runner.wake()
        return pb.PauseSourceResponse(source=source_message(*counted))

    async def ResumeSource(self, request: pb.ResumeSourceRequest, context: Any) -> pb.ResumeSourceResponse:
        counted = await self._catalog.resume(caller(), request.source)
        self._runner.wake()
        return pb.ResumeSourceResponse(source=source_message(*counted))

    async def SyncSource(self, request: pb.SyncSourceRequest, context: Any) -> pb.SyncSourceResponse:
        source, _ = await self._catalog.find(caller(), request.source)
        tally = await self._syncer.sync(source.source_id)
        return pb.SyncSourceResponse(**asdict(tally))

    async def DeleteSource(self, request: pb.DeleteSourceRequest, context: Any) -> pb.DeleteSourceResponse:
        await self._manifest.delete_source(caller(), request.source)
        self._runner.wake()
        return pb.DeleteSourceResponse()

    async def PushDocuments(self, request: pb.PushDocumentsRequest, context: Any) -> pb.PushDocumentsResponse:
        identity = caller()
        check_push(request, self._max_bytes)
        source = await self._push_source(identity, request.source)
        received_at = self._now()
        drafts = [draft_of(document, identity.subject, received_at) for document in request.documents]
        stored = await self._contents.put(identity, [document.content for document in request.documents])
        put = [_with(draft, where) for draft, where in zip(drafts, stored, strict=True)]
        rows = await self._manifest.push(identity, (source.source_id, request.request_id), put, received_at)
        return pb.PushDocumentsResponse(documents=[document_message(row) for row in rows])

    async def DeleteDocuments(self, request: pb.DeleteDocumentsRequest, context: Any) -> pb.DeleteDocumentsResponse:
        check_count(len(request.external_ids))
        known = {external_id for external_id in request.external_ids if is_external_id(external_id)}
        deleted = await self._manifest.delete(caller(), request.source, known)
        return pb.DeleteDocumentsResponse(deleted=deleted)

    async def ListDocuments(self, request: pb.ListDocumentsRequest, context: Any) -> pb.ListDocumentsResponse:
        identity, source_id = caller(), ""
        size, after = page_size_of(request.page_size), position_of(request.page_token)
        if request.source:
            source_id = (await self._catalog.find(identity, request.source))[0].source_id
        scope = (source_id, state_of(request.state))
        found = await self._catalog.documents(identity, scope, after, size + 1)
        last = found[size - 1][0] if len(found) > size else None
        return pb.ListDocumentsResponse(
            documents=[document_message(*row) for row in found[:size]],
            next_page_token=token_after(last.draft.external_id, last.document_id) if last else "",
        )

    async def SetSourceReaders(self, request: pb.SetSourceReadersRequest, context: Any) -> pb.SetSourceReadersResponse:
        identity = caller()
        check_readers(request.readers, InvalidSourceConfig)
        source, changed = await self._acl.set_source(identity, request.source, readers_of(request.readers))
        counted = await self._catalog.find(identity, source.source_id)
        return pb.SetSourceReadersResponse(source=source_message(*counted), changed=changed)

    async def SetSourceChunking(
        self, request: pb.SetSourceChunkingRequest, context: Any
    ) -> pb.SetSourceChunkingResponse:
        identity = caller()
        check_chunking(request.chunking)
        changed = await self._manifest.set_chunking(identity, request.source, chunking_of(request.chunking))
        counted = await self._catalog.find(identity, request.source)
        return pb.SetSourceChunkingResponse(source=source_message(*counted), changed=changed)

    async def SetDocumentReaders(
        self, request: pb.SetDocumentReadersRequest, context: Any
    ) -> pb.SetDocumentReadersResponse:
        changed, unknown = await self._acl.set_documents(caller(), request.source, check_document_readers(request))
        return pb.SetDocumentReadersResponse(changed=changed, unknown_external_ids=unknown)

    async def ReplayFailedDocuments(
        self, request: pb.ReplayFailedDocumentsRequest, context: Any
    ) -> pb.ReplayFailedDocumentsResponse:
        source, _ = await self._catalog.find(caller(), request.source)
        unread = await self._manifest.doubt_failed(source)
        if source.config and source.state is SourceState.ACTIVE:
            with contextlib.suppress(PathGone):
                await self._syncer.sync(source.source_id)
        readable = unread - await self._manifest.unread(source)
        replayed = await self._manifest.replay(source)
        return pb.ReplayFailedDocumentsResponse(replayed=len(readable) + replayed)

    async def _push_source(self, identity: Identity, name: str) -> Source:
        """Return a push source, before its contents are stored; Manifest.push looks again."""
        source, _ = await self._catalog.find(identity, name)
        if source.state is SourceState.DELETING:
            raise SourceNotFound("the source is being deleted", source=source.name)
        if source.config:
            raise NotAPushSource("the source fills itself", source=source.name, kind=source.kind)
        return source


def _with(draft: Draft, stored: Stored) -> Draft:
    return replace(
        draft, blob_key=stored.blob_key, content_digest=stored.content_digest, blob_generation=stored.generation
    )
