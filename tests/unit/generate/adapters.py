"""LoRA adapters for a tiny base model, written as PEFT writes them."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from services.common.lora.checks import BaseModel

LAYER = "model.layers.0.self_attn.q_proj"
BASE = BaseModel("Tiny-Model", {f"{LAYER}.weight": (8, 4), "model.norm.weight": (4,)}, max_rank=16)


def config(**changes):
    values = {
        "peft_type": "LORA",
        "base_model_name_or_path": "someone/Tiny-Model",
        "r": 2,
        "lora_alpha": 4,
        "target_modules": ["q_proj"],
        "bias": "none",
        "modules_to_save": None,
        "use_dora": False,
    }
    return values | changes


def tensors(module=LAYER, rank=2, inner=4, outer=8, value=0.5):
    prefix = f"base_model.model.{module}"
    return {
        f"{prefix}.lora_A.weight": np.full((rank, inner), value, np.float32),
        f"{prefix}.lora_B.weight": np.full((outer, rank), value, np.float32),
    }


def write(folder: Path, configuration=None, weights=None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(configuration if configuration is not None else config()))
    save_file(weights if weights is not None else tensors(), folder / "adapter_model.safetensors")
    return folder
