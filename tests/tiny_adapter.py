"""LoRA adapters that are small and mean nothing, as PEFT writes them."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

BASE, MODULE, WIDTH, RANK = "tiny", "model.layers.0.self_attn.q_proj", 8, 2


def write_adapter(folder: Path, seed: int = 0, rank: int = RANK, **config: object) -> Path:
    """Write an adapter of one module, and return its folder; `config` is put over its configuration."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(seed)
    prefix = f"base_model.model.{MODULE}"
    weights = {
        f"{prefix}.lora_A.weight": draw.standard_normal((rank, WIDTH), dtype=np.float32),
        f"{prefix}.lora_B.weight": draw.standard_normal((WIDTH, rank), dtype=np.float32),
    }
    save_file(weights, folder / "adapter_model.safetensors")
    known = {
        "peft_type": "LORA",
        "base_model_name_or_path": BASE,
        "r": rank,
        "lora_alpha": 8,
        "target_modules": ["q_proj"],
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(known | config))
    return folder
