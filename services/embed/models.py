"""The embedding models that run: the deployment's own from the start, others from when an index needs them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog

from services.common.errors import Unavailable
from services.common.faults import described
from services.embed.lanes import Lanes
from services.embed.ports import Tokens

log = structlog.get_logger()


class ModelUnavailable(Unavailable):
    """The deployment does not have the model, or it cannot be loaded."""

    reason = "MODEL_UNAVAILABLE"
    retry_seconds = 5.0


@dataclass(frozen=True, slots=True)
class Model:
    """A model that runs: its name, the length of its vectors, and what counts and embeds with it."""

    name: str
    dimensions: int
    tokens: Tokens
    lanes: Lanes


# Loads a model that the settings name; raises whatever the backend does.
Load = Callable[[], Awaitable[Model]]


class Models:
    """Every model that indexes may be made with; what was loaded once stays."""

    def __init__(self, own: Model, others: Mapping[str, Load]) -> None:
        self.own = own
        self._others = others
        self._loading: dict[str, asyncio.Task[Model]] = {}

    def has(self, name: str) -> bool:
        """Return whether the deployment names the model; "" is its own."""
        return name in {"", self.own.name} or name in self._others

    async def of(self, name: str) -> Model:
        """Return a model by its name, "" is the deployment's own; who asks first waits until it is loaded.

        Raises:
            ModelUnavailable: there is none, or it cannot be loaded now.
        """
        if name in {"", self.own.name}:
            return self.own
        if not self.has(name):
            raise ModelUnavailable("the deployment has no such model", model=name[:100])
        if name not in self._loading:
            self._loading[name] = asyncio.create_task(self._loaded(name))
        # For all who wait: a caller that goes away must not end it.
        return await asyncio.shield(self._loading[name])

    async def _loaded(self, name: str) -> Model:
        try:
            model = await self._others[name]()
        except Exception as error:
            del self._loading[name]
            log.warning("model_not_loaded", model=name, error=described(error))
            raise ModelUnavailable("the model cannot be loaded", model=name) from error
        log.info("model_loaded", model=name, dimensions=model.dimensions)
        return model
