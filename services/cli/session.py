"""What every verb is given: the home, the output, and the gateway."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.cli.addresses import DEFAULT_PORT_BASE, HOST
from services.cli.errors import Failure
from services.cli.gateway import Gateway
from services.cli.home import Home
from services.cli.output import Output
from services.cli.plan import Blueprint


class NoKey(Failure):
    """There is neither a key given nor one in the home."""

    reason = "NO_API_KEY"


@dataclass(frozen=True, slots=True)
class Program:
    """What `tandem` itself is: how to run it again, what `up` starts, and the environment it was given."""

    argv: tuple[str, ...]
    blueprint: Blueprint
    environment: Mapping[str, str]


@dataclass(slots=True)
class Session:
    """One run of one verb. `address` and `api_key` are empty where the home's are to be used."""

    program: Program
    home: Home
    output: Output
    address: str = ""
    api_key: str = ""
    on_behalf_of: str = ""
    _gateway: Gateway | None = field(default=None, init=False)

    @property
    def gateway(self) -> Gateway:
        """Return the gateway, connected at the first use.

        Raises:
            NoKey: no key is given, and the home has none.
        """
        if self._gateway is None:
            self._gateway = Gateway(self.gateway_address, self.api_key or self._first_key(), self.on_behalf_of)
        return self._gateway

    @property
    def gateway_address(self) -> str:
        """Return where the gateway is, as far as is known."""
        state = self.home.state()
        return self.address or (state.gateway if state else f"{HOST}:{DEFAULT_PORT_BASE}")

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
