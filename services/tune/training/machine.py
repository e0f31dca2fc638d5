"""What the machine has: its device, its memory, and how it is made to compute the same each time."""

import os
from pathlib import Path

import psutil
import torch
from transformers import set_seed

_CGROUP = Path("/sys/fs/cgroup")
SEEDS = 2**31


def has_gpu() -> bool:
    """Return whether training computes on a GPU."""
    return torch.cuda.is_available()


def make_deterministic(seed: int, threads: int) -> None:
    """Draw everything from `seed`, and take only kernels that compute the same each time."""
    # Read when the first matrices are multiplied on a GPU.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if threads:
        torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=True)
    # Else every new tensor would be filled, to show who reads one that nothing was written into.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # made when imported
    torch.backends.cudnn.benchmark = False
    draw_from(seed)


def draw_from(seed: int) -> None:
    """Draw everything from here on from `seed`."""
    set_seed(seed % SEEDS)


def device() -> str:
    """Return where to compute, as torch names it."""
    return "cuda" if has_gpu() else "cpu"


def total_bytes() -> int:
    """Return the memory of a device, or of the machine as far as this process may have it."""
    if has_gpu():
        return int(torch.cuda.mem_get_info()[1])
    return min(psutil.virtual_memory().total, _number(_CGROUP / "memory.max"))


def available_bytes() -> int:
    """Return how much of it is free, or this process's already."""
    if has_gpu():
        return int(torch.cuda.mem_get_info()[0])
    own = int(psutil.Process().memory_info().rss)
    left = _number(_CGROUP / "memory.max") - _number(_CGROUP / "memory.current", missing=0) + _reclaimable()
    return min(psutil.virtual_memory().available, left) + own


def _reclaimable() -> int:
    """Return what the group's memory holds of files, which gives way."""
    try:
        lines = (_CGROUP / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))


def _number(path: Path, missing: int = 1 << 62) -> int:
    try:
        text = path.read_text().strip()
    except OSError:
        return missing
    return int(text) if text.isdigit() else missing
