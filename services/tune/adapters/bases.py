"""The model that adapters are for, as far as one that is imported must fit it."""

import threading
from pathlib import Path

from services.common.lora.checks import BaseModel, model_name, tunable
from services.common.models.folder import model_folder, weight_shapes

# What generate's memory engine calls its model.
MEMORY = "memory"


class Base:
    """Reads the shapes of the model's weights, when they are first asked for."""

    def __init__(self, model: str, max_rank: int, cache: Path) -> None:
        """`model` is a folder, a .gguf file or a name on the hub; "" is the memory engine's."""
        self._model = model
        self._max_rank = max_rank
        self._cache = cache
        self._reading = threading.Lock()
        self._read: BaseModel | None = None

    def read(self) -> BaseModel:
        """Return the model. Blocks; a .gguf file is converted the first time, which takes a minute.

        Raises:
            ModelNotConverted: the file is no model.
        """
        with self._reading:
            if self._read is None:
                self._read = self._found()
            return self._read

    def _found(self) -> BaseModel:
        if not self._model:
            return BaseModel(MEMORY, {}, self._max_rank)
        shapes = tunable(weight_shapes(model_folder(self._model, self._cache)))
        return BaseModel(model_name(self._model), shapes, self._max_rank)
