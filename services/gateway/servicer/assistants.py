"""The gRPC face of assistants."""

from typing import Any

from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.gateway.v1 import gateway_service_pb2_grpc as rpc

from services.common.identity import caller
from services.common.pages import key_of, page_size_of, token_of
from services.common.recent import Recent
from services.gateway.domain.assistants import Assistant, checked, with_default
from services.gateway.ports import Assistants

RecentAssistants = Recent[tuple[str, str], Assistant | None]


class AssistantServicer(rpc.AssistantServiceServicer):
    def __init__(self, assistants: Assistants, recent: RecentAssistants) -> None:
        self._assistants = assistants
        self._recent = recent

    async def PutAssistant(self, request: pb.PutAssistantRequest, context: Any) -> pb.PutAssistantResponse:
        who, assistant = caller(), checked(_assistant(request.assistant))
        await self._assistants.put(who, assistant)
        self._recent.forget((who.tenant_id, assistant.name))
        return pb.PutAssistantResponse(assistant=_message(assistant))

    async def ListAssistants(self, request: pb.ListAssistantsRequest, context: Any) -> pb.ListAssistantsResponse:
        size, after = page_size_of(request.page_size), key_of(request.page_token)
        kept = await self._assistants.page(caller(), after, size + 1)
        found = with_default(kept, after, size + 1)
        token = token_of(found[size - 1].name) if len(found) > size else ""
        return pb.ListAssistantsResponse(assistants=map(_message, found[:size]), next_page_token=token)


def _assistant(message: pb.Assistant) -> Assistant:
    return Assistant(
        name=message.name,
        instructions=message.instructions,
        sources=tuple(message.sources),
        adapter=message.adapter,
        top_k=message.top_k,
        without_retrieval=message.without_retrieval,
    )


def _message(assistant: Assistant) -> pb.Assistant:
    return pb.Assistant(
        name=assistant.name,
        instructions=assistant.instructions,
        sources=assistant.sources,
        adapter=assistant.adapter,
        top_k=assistant.top_k,
        without_retrieval=assistant.without_retrieval,
    )
