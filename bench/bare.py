"""A bare grpc.aio backend, and a bare grpc.aio proxy before it: what the gateway is held against.

Run as `python -m bench.bare backend ADDRESS MESSAGES` or `python -m bench.bare proxy ADDRESS BACKEND`.
Both speak the gateway's own Ask, with the same events and nothing around them.
"""

import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
import uvloop
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.gateway.v1 import gateway_service_pb2_grpc as rpc

ANSWER = "word " * 32


def events(messages: int) -> list[pb.AskResponse]:
    """Return as many events as the gateway sends, the answer's 32 tokens in one of them."""
    answer = pb.AskResponse(token_delta=pb.TokenDelta(text=ANSWER, tokens=32))
    others = [pb.AskResponse(usage=pb.Usage(prompt_tokens=40, completion_tokens=32, model="memory"))] * (messages - 1)
    return [answer, *others]


class Backend(rpc.GatewayServiceServicer):
    def __init__(self, messages: int) -> None:
        self._events = events(messages)

    async def Ask(self, request: pb.AskRequest, context: Any) -> AsyncIterator[pb.AskResponse]:
        for event in self._events:
            yield event


class Proxy(rpc.GatewayServiceServicer):
    def __init__(self, stub: rpc.GatewayServiceStub) -> None:
        self._stub = stub

    async def Ask(self, request: pb.AskRequest, context: Any) -> AsyncIterator[pb.AskResponse]:
        async for event in self._stub.Ask(request):
            yield event


async def main(kind: str, address: str, argument: str) -> None:
    server = grpc.aio.server()
    if kind == "backend":
        servicer: rpc.GatewayServiceServicer = Backend(int(argument))
    else:
        servicer = Proxy(rpc.GatewayServiceStub(grpc.aio.insecure_channel(argument)))
    rpc.add_GatewayServiceServicer_to_server(servicer, server)
    server.add_insecure_port(address)
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:4]))
