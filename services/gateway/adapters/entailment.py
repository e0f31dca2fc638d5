"""A cross-encoder for natural language inference, by sentence-transformers, in this process."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from services.gateway.ports import EntailmentFailed

ENTAILMENT_LABEL = "entailment"


class NotAnEntailmentModel(ValueError):
    """The model that the settings name has no label "entailment", or cannot be read."""


class CrossEncoderEntailment:
    """Entailment by a model, in a thread of its own."""

    def __init__(self, model: Any, label: int) -> None:
        self._model = model
        self._label = label
        # One batch at a time; what waits, and is not waited for any more, is never begun.
        self._thread = ThreadPoolExecutor(1, "entailment")

    async def scores(self, pairs: Sequence[tuple[str, str]]) -> Sequence[float]:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._judged, pairs)
        # Whatever a model or its library raises, the answer goes out.
        except Exception as error:
            raise EntailmentFailed("the entailment model failed") from error

    def _judged(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        found = self._model.predict(list(pairs), apply_softmax=True, show_progress_bar=False)
        return [float(scores[self._label]) for scores in found]


def open_entailment(name: str) -> CrossEncoderEntailment:
    """Return the model of this name or in this folder; blocks, and is meant for the start.

    Raises:
        NotAnEntailmentModel: it cannot be read, or has no label "entailment".
    """
    try:
        from sentence_transformers import CrossEncoder  # noqa: PLC0415 - the extra `entailment` brings it

        model = CrossEncoder(name)
    except (ImportError, OSError, ValueError) as error:
        raise NotAnEntailmentModel(f"GATEWAY_ENTAILMENT: {name} cannot be read") from error
    labels = {str(label).lower(): int(index) for index, label in (model.config.id2label or {}).items()}
    if ENTAILMENT_LABEL not in labels or len(labels) < 2:  # noqa: PLR2004 - of one label softmax is always 1
        raise NotAnEntailmentModel(f"GATEWAY_ENTAILMENT: {name} has no label {ENTAILMENT_LABEL!r}")
    return CrossEncoderEntailment(model, labels[ENTAILMENT_LABEL])
