"""Scores by a cross-encoder, the same where rerankers are measured and where they are served."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import CrossEncoder

from services.common.models.precision import natural_dtype

BATCH = 16


def open_cross_encoder(folder: Path, tokens: int) -> Any:
    """Return the cross-encoder in `folder`, in `natural_dtype`; of a query and a text it reads `tokens` at most."""
    model = CrossEncoder(
        str(folder),
        max_length=tokens,
        local_files_only=True,
        model_kwargs={"dtype": natural_dtype(), "use_safetensors": True},
    )
    return model.eval()


def scores_of(model: Any, query: str, texts: Sequence[str]) -> list[float]:
    """Return how well each text answers `query`, from 0 to 1."""
    if not texts:
        return []
    scores = model.predict(
        [(query, text) for text in texts],
        batch_size=BATCH,
        activation_fn=torch.nn.Identity(),
        show_progress_bar=False,
        convert_to_tensor=True,
    )
    # In bfloat16 everything that is nearly sure would be the same.
    return [float(score) for score in scores.float().sigmoid().cpu()]
