"""The gRPC face of the gate's rules."""

from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from tandem.tune.v1 import gate_service_pb2 as pb
from tandem.tune.v1 import gate_service_pb2_grpc as rpc

from services.common.identity import caller
from services.common.pages import InvalidPage, key_of, page_size_of, token_of
from services.tune.adapters.gate_rules import PostgresGateRules
from services.tune.domain.gate_rules import KeptRules, RulesNotFound, rules_of
from services.tune.evaluating import Clock

GATE = pb.DESCRIPTOR.services_by_name["GateService"].full_name


class GateServicer(rpc.GateServiceServicer):
    def __init__(self, rules: PostgresGateRules, clock: Clock) -> None:
        self._rules = rules
        self._clock = clock

    async def GetGateRules(self, request: pb.GetGateRulesRequest, context: Any) -> pb.GetGateRulesResponse:
        if request.version < 0:
            raise RulesNotFound("the gate's rules have no such version", version=request.version)
        found = self._rules.find(caller(), request.version) if request.version else self._rules.live(caller())
        return pb.GetGateRulesResponse(rules=_message(await found))

    async def PutGateRules(self, request: pb.PutGateRulesRequest, context: Any) -> pb.PutGateRulesResponse:
        rules_of(request.content.encode())
        kept = await self._rules.put(caller(), request.content, request.expected_version, self._clock.now())
        return pb.PutGateRulesResponse(rules=_message(kept))

    async def ListGateRules(self, request: pb.ListGateRulesRequest, context: Any) -> pb.ListGateRulesResponse:
        size, before = page_size_of(request.page_size), _version_of(request.page_token)
        found = await self._rules.page(caller(), before, size + 1)
        token = token_of(str(found[size - 1].version)) if len(found) > size else ""
        return pb.ListGateRulesResponse(rules=map(_message, found[:size]), next_page_token=token)


def _version_of(token: str) -> int:
    key = key_of(token)
    if key and not (key.isascii() and key.isdecimal() and len(key) < len(str(1 << 63))):
        raise InvalidPage("the page token is not one of ours")
    return int(key or 0)


def _message(kept: KeptRules) -> pb.GateRules:
    message = pb.GateRules(version=kept.version, content=kept.content, subject=kept.subject)
    if kept.put_at:
        put_at = Timestamp()
        put_at.FromDatetime(kept.put_at)
        message.put_at.CopyFrom(put_at)
    return message
