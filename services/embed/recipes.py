"""How the passages of an index are made: by which model, and by which reader."""

from dataclasses import dataclass, replace

from services.common.index_config import IndexConfig
from services.common.indexes import Made
from services.embed.chunking.documents import DocumentChunker
from services.embed.indexing import Reader
from services.embed.models import Model, Models


@dataclass(frozen=True, slots=True)
class Recipe:
    """What one configuration comes to; indexes of the same `key` are the same."""

    key: str
    config: IndexConfig
    model: Model
    reader: Reader


class Recipes:
    """Makes recipes; `reader` is the deployment's own, whose limits hold for all."""

    def __init__(self, default: Made, models: Models, reader: Reader) -> None:
        self.default = default
        self._models = models
        self._reader = reader

    async def of(self, made: Made | None) -> Recipe:
        """Return how an index is made; None is the deployment's default.

        Raises:
            ModelUnavailable: its model cannot be had now.
        """
        made = made or self.default
        return self._recipe(made, await self._models.of(made.config.model))

    def for_removal(self, made: Made | None) -> Recipe:
        """Return what suffices to remove passages from an index; its model, which may be away, is not its own."""
        return self._recipe(made or self.default, self._models.own)

    def _recipe(self, made: Made, model: Model) -> Recipe:
        reader = replace(self._reader, chunker=DocumentChunker(model.tokens, made.config))
        return Recipe(made.key, made.config, model, reader)
