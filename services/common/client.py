"""How one service calls another: channels that retry UNAVAILABLE, and what every call carries."""

from typing import Any, TypedDict

import grpc
import orjson

from services.common.identity import METADATA_KEY, Identity, IdentitySigner
from services.common.server import MAX_MESSAGE_BYTES, MAX_METADATA_BYTES
from services.common.telemetry import inject
from services.common.transport import LOOPBACK, Transport

SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.05s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}


class CallOptions(TypedDict):
    """Keyword arguments of a stub's call."""

    timeout: float
    metadata: tuple[tuple[str, str | bytes], ...]


def open_channel(address: str, transport: Transport = LOOPBACK) -> grpc.aio.Channel:
    """Open a channel to a service inside the platform.

    Raises:
        PlaintextRefused: `transport` has no TLS, and the address is not on loopback.
    """
    return transport.channel(
        address,
        options=(
            # What an environment says of proxies is not for the platform's own ways.
            ("grpc.enable_http_proxy", 0),
            ("grpc.service_config", orjson.dumps(SERVICE_CONFIG).decode()),
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_metadata_size", MAX_METADATA_BYTES),
            ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ),
    )


class Outgoing:
    """Makes the options of calls to the services behind: identity, trace, and what is left of the deadline."""

    def __init__(self, signer: IdentitySigner) -> None:
        self._signer = signer

    def __call__(self, identity: Identity, context: Any, at_most_seconds: float) -> CallOptions:
        """Return the options of one call made on behalf of the RPC in `context`."""
        left = context.time_remaining()
        timeout = at_most_seconds if left is None else min(left, at_most_seconds)
        carrier = inject({})
        identity_pair: tuple[str, str | bytes] = (METADATA_KEY, self._signer.sign(identity))
        return CallOptions(timeout=timeout, metadata=(identity_pair, *carrier.items()))
