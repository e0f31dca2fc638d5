"""The gRPC face of assistants."""

from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.gateway.v1 import gateway_service_pb2_grpc as rpc
from tandem.generate.v1 import generate_service_pb2 as generate_pb

from services.common.identity import Identity, caller
from services.common.pages import InvalidPage, key_of, page_size_of, token_of
from services.common.recent import Recent
from services.gateway.domain.assistants import (
    AnswerLength,
    Assistant,
    AssistantNotFound,
    AssistantVersionNotFound,
    CitationPolicy,
    InvalidAssistant,
    assistant_of,
    checked,
    name_of,
    with_default,
)
from services.gateway.ports import Assistants
from services.gateway.servicer.filters import filter_of, narrowing_of

RecentAssistants = Recent[tuple[str, str], Assistant | None]

# Before every version there is.
NEWEST = 2**63 - 1

LENGTHS: dict[AnswerLength, generate_pb.AnswerLength.ValueType] = {
    AnswerLength.UNSET: generate_pb.ANSWER_LENGTH_UNSPECIFIED,
    AnswerLength.SHORT: generate_pb.ANSWER_LENGTH_SHORT,
    AnswerLength.MEDIUM: generate_pb.ANSWER_LENGTH_MEDIUM,
    AnswerLength.LONG: generate_pb.ANSWER_LENGTH_LONG,
}
_POLICIES: dict[CitationPolicy, pb.CitationPolicy.ValueType] = {
    CitationPolicy.MARK: pb.CITATION_POLICY_UNSPECIFIED,
    CitationPolicy.REQUIRE: pb.CITATION_POLICY_REQUIRE,
    CitationPolicy.OFF: pb.CITATION_POLICY_OFF,
}
_LENGTHS_BY_NUMBER: dict[int, AnswerLength] = {number: length for length, number in LENGTHS.items()}
_POLICIES_BY_NUMBER: dict[int, CitationPolicy] = {number: policy for policy, number in _POLICIES.items()}


class AssistantServicer(rpc.AssistantServiceServicer):
    def __init__(self, assistants: Assistants, recent: RecentAssistants) -> None:
        self._assistants = assistants
        self._recent = recent

    async def PutAssistant(self, request: pb.PutAssistantRequest, context: Any) -> pb.PutAssistantResponse:
        kept = await self._put(caller(), checked(_assistant(request.assistant)), _expected(request))
        return pb.PutAssistantResponse(assistant=_message(kept))

    async def GetAssistant(self, request: pb.GetAssistantRequest, context: Any) -> pb.GetAssistantResponse:
        name, who = name_of(request.name), caller()
        if request.version:
            return pb.GetAssistantResponse(assistant=_message(await self._version(who, name, request.version)))
        return pb.GetAssistantResponse(assistant=_message(assistant_of(name, await self._assistants.find(who, name))))

    async def ListAssistantVersions(
        self, request: pb.ListAssistantVersionsRequest, context: Any
    ) -> pb.ListAssistantVersionsResponse:
        name, size, before = name_of(request.name), page_size_of(request.page_size), _before(request.page_token)
        found = await self._assistants.versions(caller(), name, before, size + 1)
        if not found and before == NEWEST:
            raise AssistantNotFound("no such assistant", assistant=name)
        token = token_of(str(found[size - 1].version)) if len(found) > size else ""
        return pb.ListAssistantVersionsResponse(assistants=map(_message, found[:size]), next_page_token=token)

    async def RollbackAssistant(
        self, request: pb.RollbackAssistantRequest, context: Any
    ) -> pb.RollbackAssistantResponse:
        name, who = name_of(request.name), caller()
        kept = await self._put(who, await self._version(who, name, request.version), _expected(request))
        return pb.RollbackAssistantResponse(assistant=_message(kept))

    async def DeleteAssistant(self, request: pb.DeleteAssistantRequest, context: Any) -> pb.DeleteAssistantResponse:
        name, who = name_of(request.name), caller()
        await self._assistants.delete(who, name)
        self._recent.forget((who.tenant_id, name))
        return pb.DeleteAssistantResponse()

    async def ListAssistants(self, request: pb.ListAssistantsRequest, context: Any) -> pb.ListAssistantsResponse:
        size, after = page_size_of(request.page_size), key_of(request.page_token)
        kept = await self._assistants.page(caller(), after, size + 1)
        found = with_default(kept, after, size + 1)
        token = token_of(found[size - 1].name) if len(found) > size else ""
        return pb.ListAssistantsResponse(assistants=map(_message, found[:size]), next_page_token=token)

    async def _put(self, who: Identity, assistant: Assistant, expected: int | None) -> Assistant:
        kept = await self._assistants.put(who, assistant, expected)
        self._recent.forget((who.tenant_id, assistant.name))
        return kept

    async def _version(self, who: Identity, name: str, version: int) -> Assistant:
        found = await self._assistants.version(who, name, version)
        if found is None:
            if not await self._assistants.versions(who, name, NEWEST, 1):
                raise AssistantNotFound("no such assistant", assistant=name)
            raise AssistantVersionNotFound("the assistant has no such version", assistant=name, version=version)
        return found


def _expected(request: pb.PutAssistantRequest | pb.RollbackAssistantRequest) -> int | None:
    return request.expected_version if request.HasField("expected_version") else None


def _before(token: str) -> int:
    """Return the version that a page ends before.

    Raises:
        InvalidPage: no answer carried `token`.
    """
    key = key_of(token)
    if not key:
        return NEWEST
    if not (key.isascii() and key.isdigit() and int(key) < NEWEST):
        raise InvalidPage("the page token is not one of ours")
    return int(key)


def _assistant(message: pb.Assistant) -> Assistant:
    return Assistant(
        name=message.name,
        instructions=message.instructions,
        sources=tuple(message.sources),
        adapter=message.adapter,
        top_k=message.top_k,
        without_retrieval=message.without_retrieval,
        languages=tuple(message.languages),
        narrowing=narrowing_of(message.filter),
        citation_policy=_known(_POLICIES_BY_NUMBER, message.citation_policy, "citation_policy"),
        answer_length=_known(_LENGTHS_BY_NUMBER, message.answer_length, "answer_length"),
        without_abstention=message.without_abstention,
    )


def _known(values: dict[int, Any], number: int, field: str) -> Any:
    """Return the value of a protobuf number.

    Raises:
        InvalidAssistant: it is none that we know.
    """
    if number not in values:
        raise InvalidAssistant("no such value is known", field=field)
    return values[number]


def _message(assistant: Assistant) -> pb.Assistant:
    return pb.Assistant(
        name=assistant.name,
        instructions=assistant.instructions,
        sources=assistant.sources,
        adapter=assistant.adapter,
        top_k=assistant.top_k,
        without_retrieval=assistant.without_retrieval,
        languages=assistant.languages,
        filter=filter_of(assistant.narrowing),
        citation_policy=_POLICIES[assistant.citation_policy],
        answer_length=LENGTHS[assistant.answer_length],
        without_abstention=assistant.without_abstention,
        version=assistant.version,
        created_at=_created_at(assistant),
    )


def _created_at(assistant: Assistant) -> Timestamp | None:
    if assistant.created_at is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(assistant.created_at)
    return stamp
