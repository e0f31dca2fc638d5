"""Converts a GGUF file to a folder that vLLM loads; run as a process, so that its memory goes back."""

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from services.common.lifeline import die_with_parent


def convert(source: Path, folder: Path) -> None:
    """Write the model in `source`, in bfloat16, and its tokenizer with its chat template to `folder`."""
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)  # a folder on this disk  # nosec B615
    quantized = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)  # nosec B615
    # A model read from GGUF keeps its quantization in the config and refuses to be saved; a plain one does not.
    config = quantized.config.to_dict()
    config.pop("quantization_config", None)
    plain = type(quantized)(type(quantized.config)(**config))
    plain.load_state_dict(quantized.state_dict())
    plain.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    die_with_parent()
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
