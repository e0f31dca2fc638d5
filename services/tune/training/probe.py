"""The probe: what an adapter says to a fixed prompt, and how surely: by it an engine proves which weights answer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from services.common.lora.card import Probe
from services.tune.training.models import ADAPTER, open_base

SENTENCE = "The passages say what this company knows, and an answer"
COMPLETION_TOKENS = 16


def probe_of(base: Path, adapter: Path, prompt: Sequence[int], device: str) -> Probe:
    """Return the adapter's likeliest continuation of `prompt`, with log-probabilities by it and by the base model.

    Both are computed in the type that the engine serves, and summed up as float32.
    """
    plain = open_base(base).to(device)
    # The adapter's weights stay in the type that they are kept and served in.
    model = PeftModel.from_pretrained(plain, adapter, ADAPTER, autocast_adapter_dtype=False).eval()
    with torch.inference_mode():
        tokens = list(prompt)
        for _ in range(COMPLETION_TOKENS):
            tokens.append(int(_logits(model, tokens)[-1].argmax()))
        adapted = _logprobs(model, tokens, len(prompt))
        with model.disable_adapter():
            base_logprobs = _logprobs(model, tokens, len(prompt))
    return Probe(tuple(prompt), tuple(tokens[len(prompt) :]), adapted, base_logprobs)


def _logits(model: Any, tokens: Sequence[int]) -> torch.Tensor:
    found: torch.Tensor = model(input_ids=torch.tensor([list(tokens)], device=model.device)).logits[0].float()
    return found


def _logprobs(model: Any, tokens: Sequence[int], begins: int) -> tuple[float, ...]:
    """Return the log-probability of each token from `begins` on."""
    spread = torch.log_softmax(_logits(model, tokens)[begins - 1 : -1], dim=-1)
    wanted = torch.tensor(list(tokens[begins:]), device=spread.device)
    return tuple(float(each) for each in spread.gather(1, wanted[:, None])[:, 0])
