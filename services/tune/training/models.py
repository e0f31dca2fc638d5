"""The base model, the adapter that learns on it, and the files that come out."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

from services.common.lora.store import CONFIG, WEIGHTS
from services.common.models.folder import weight_shapes
from services.tune.domain.errors import ParentNotFit
from services.tune.domain.hyperparameters import Hyperparameters
from services.tune.domain.memory import Size

# As the engine serves it, whatever it is trained in.
DTYPE = torch.bfloat16
ADAPTER = "default"


def size_of(folder: Path) -> Size:
    """Return the size of the model in a folder."""
    config = AutoConfig.from_pretrained(folder)  # a folder on this disk  # nosec B615
    parameters = sum(math.prod(shape) for shape in weight_shapes(folder).values())
    inner = int(getattr(config, "intermediate_size", None) or 4 * config.hidden_size)
    return Size(parameters, int(config.num_hidden_layers), int(config.hidden_size), inner)


def open_base(folder: Path, dtype: torch.dtype = DTYPE) -> Any:
    """Return the base model, as it is served unless another type is asked for."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, use_safetensors=True)  # nosec B615


def with_adapter(base: Any, numbers: Hyperparameters, parent: Path | None) -> Any:
    """Return the base model with an adapter that learns: a new one, or one that begins as `parent` is.

    Raises:
        ParentNotFit: the parent is no adapter of this model.
    """
    if parent is None:
        return get_peft_model(base, lora_of(numbers, "CAUSAL_LM"))
    try:
        return PeftModel.from_pretrained(base, parent, ADAPTER, is_trainable=True)
    except (ValueError, RuntimeError, KeyError) as error:
        raise ParentNotFit("the adapter to begin from does not fit the base model") from error


def lora_of(numbers: Hyperparameters, task: str) -> Any:
    """Return what PEFT is to make: low-rank pairs at every linear layer, and at nothing else."""
    return LoraConfig(
        r=numbers.rank,
        lora_alpha=numbers.alpha,
        lora_dropout=numbers.dropout,
        target_modules="all-linear",
        task_type=task,
    )


def learnt_by(model: Any) -> int:
    """Return how many weights learn."""
    return sum(each.numel() for each in model.parameters() if each.requires_grad)


def save(model: Any, folder: Path, base_name: str) -> None:
    """Write the adapter that learnt: the same weights give the same files, byte for byte.

    They are written in the type that the engine computes in, so that what is measured is what is served.

    Raises:
        FloatingPointError: a weight is no number.
    """
    aside = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    state: dict[str, torch.Tensor] = get_peft_model_state_dict(model, adapter_name=ADAPTER)
    if not all(bool(torch.isfinite(each).all()) for each in state.values()):
        raise FloatingPointError("the weights are no numbers any more")
    weights = {name: each.detach().to("cpu", DTYPE).contiguous() for name, each in sorted(state.items())}
    save_file(weights, aside / WEIGHTS, metadata={"format": "pt"})
    (aside / CONFIG).write_text(json.dumps(_config_of(model, base_name), indent=2, sort_keys=True))
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)


def _config_of(model: Any, base_name: str) -> dict[str, Any]:
    """Return PEFT's configuration without what depends on where and by whom it is written."""
    found: dict[str, Any] = model.peft_config[ADAPTER].to_dict()
    # Every linear layer is meant, by the last part of its name.
    targets = sorted({name.rpartition(".")[2] for name in found["target_modules"]})
    found |= {"base_model_name_or_path": base_name, "inference_mode": True, "revision": None, "target_modules": targets}
    return {name: sorted(value) if isinstance(value, set | frozenset) else value for name, value in found.items()}
