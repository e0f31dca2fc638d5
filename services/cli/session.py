"""What every verb is given: the home, the output, and the gateway."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import grpc

from services.cli.addresses import DEFAULT_PORT_BASE, HOST
from services.cli.authority import paths_of
from services.cli.errors import Failure
from services.cli.gateway import Caller, Gateway
from services.cli.home import Home
from services.cli.output import Output
from services.cli.plan import Blueprint
from services.common.transport import is_loopback


class NoKey(Failure):
    """There is neither a key given nor one in the home."""

    reason = "NO_API_KEY"


@dataclass(frozen=True, slots=True)
class Program:
    """What `tandem` itself is: how to run it again, what `up` starts, and the environment it was given."""

    argv: tuple[str, ...]
    blueprint: Blueprint
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom to trust as a gateway elsewhere: by default, whom the system trusts, and never without TLS."""

    authority: Path | None = None
    allow_plaintext: bool = False


@dataclass(slots=True)
class Session:
    """One run of one verb. `address` and the caller's key are empty where the home's are to be used."""

    program: Program
    home: Home
    output: Output
    address: str = ""
    caller: Caller = field(default_factory=Caller)
    trust: Trust = Trust()
    _gateway: Gateway | None = field(default=None, init=False)

    @property
    def gateway(self) -> Gateway:
        """Return the gateway, connected at the first use.

        Raises:
            NoKey: no key is given, and the home has none.
        """
        if self._gateway is None:
            caller = replace(self.caller, api_key=self.caller.api_key or self._first_key())
            self._gateway = Gateway(self.gateway_address, caller, self._credentials())
        return self._gateway

    @property
    def gateway_address(self) -> str:
        """Return where the gateway is, as far as is known."""
        state = self.home.state()
        return self.address or (state.gateway if state else f"{HOST}:{DEFAULT_PORT_BASE}")

    def _credentials(self) -> grpc.ChannelCredentials | None:
        """Return whom to trust as the gateway, or None where plaintext is spoken.

        Raises:
            OSError: the authority cannot be read.
        """
        state, address = self.home.state(), self.gateway_address
        authority = self.trust.authority
        if authority is None and state and state.tls and address == state.gateway:
            authority = paths_of(self.home).authority
        if authority is not None:
            return grpc.ssl_channel_credentials(authority.read_bytes())
        if is_loopback(address) or self.trust.allow_plaintext:
            return None
        return grpc.ssl_channel_credentials(_system_roots())

    def close(self) -> None:
        if self._gateway is not None:
            self._gateway.close()

    def _first_key(self) -> str:
        credentials = self.home.credentials()
        if credentials is None:
            raise NoKey(
                f"no API key: {self.home.root} has none (start a platform with `tandem up`),"
                " and neither --api-key nor TANDEM_API_KEY is given",
                home=str(self.home.root),
            )
        return credentials.secret


def _system_roots() -> bytes | None:
    """Return the system's roots (or SSL_CERT_FILE's); None means those that gRPC brings."""
    file = ssl.get_default_verify_paths().cafile
    return Path(file).read_bytes() if file else None
