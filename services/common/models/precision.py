"""The type that a machine computes a model in."""

import torch


def natural_dtype() -> torch.dtype:
    """Return bfloat16, or float32 on a CPU that has no bfloat16 of its own: there it is several times faster."""
    own = (has for name, has in torch.cpu.get_capabilities().items() if name.endswith("bf16"))
    return torch.bfloat16 if torch.cuda.is_available() or any(own) else torch.float32
