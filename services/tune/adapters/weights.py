"""How far apart two adapters change the weights of their base model, module by module."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from safetensors import safe_open

from services.common.lora.store import CONFIG, WEIGHTS

_PREFIX = "base_model.model."


@dataclass(frozen=True, slots=True)
class ModuleDistance:
    """Frobenius norms of two changes of one module and of their difference, relative; `cosine` of their angle."""

    module: str
    left_norm: float
    right_norm: float
    distance: float
    cosine: float


@dataclass(frozen=True, slots=True)
class _Change:
    """A change of weights, scale * B @ A, which is never multiplied out: it has the size of the model."""

    a: Any
    b: Any
    scale: float

    def dot(self, other: "_Change") -> float:
        """Return the sum of the products of the entries of both changes: tr((B'^T B) (A A'^T))."""
        inner = (other.b.T @ self.b) * (other.a @ self.a.T)
        return float(inner.sum()) * self.scale * other.scale


def config_of(folder: Path) -> dict[str, Any]:
    """Return an adapter's configuration."""
    found: dict[str, Any] = orjson.loads((folder / CONFIG).read_bytes())
    return found


def distances(left: Path, right: Path) -> list[ModuleDistance]:
    """Return how far apart the changes of two adapters' folders are, by module. Blocks, and computes."""
    ours, theirs = _changes(left), _changes(right)
    return [_distance(module, ours.get(module), theirs.get(module)) for module in sorted(ours.keys() | theirs.keys())]


def _distance(module: str, left: _Change | None, right: _Change | None) -> ModuleDistance:
    left_square, right_square = (change.dot(change) if change else 0.0 for change in (left, right))
    both = left.dot(right) if left and right and _fit(left, right) else 0.0
    left_norm, right_norm = math.sqrt(max(left_square, 0.0)), math.sqrt(max(right_square, 0.0))
    apart = math.sqrt(max(left_square + right_square - 2 * both, 0.0))
    larger, product = max(left_norm, right_norm), left_norm * right_norm
    cosine = max(-1.0, min(1.0, both / product)) if product else 0.0
    return ModuleDistance(module, left_norm, right_norm, apart / larger if larger else 0.0, cosine)


def _fit(left: _Change, right: _Change) -> bool:
    return bool(left.a.shape[1] == right.a.shape[1] and left.b.shape[0] == right.b.shape[0])


def _changes(folder: Path) -> dict[str, _Change]:
    config = config_of(folder)
    # numpy has no bfloat16, which adapters are often kept in.
    with safe_open(folder / WEIGHTS, framework="pt") as tensors:
        names = list(tensors.keys())
        modules = [name.removesuffix(".lora_A.weight") for name in names if name.endswith(".lora_A.weight")]
        return {
            module.removeprefix(_PREFIX): _change(tensors, module, config)
            for module in modules
            if f"{module}.lora_B.weight" in names
        }


def _change(tensors: Any, module: str, config: Mapping[str, Any]) -> _Change:
    a, b = (tensors.get_tensor(f"{module}.lora_{side}.weight").double() for side in ("A", "B"))
    name = module.removeprefix(_PREFIX)
    alpha = _of_module(config.get("alpha_pattern"), name, config["lora_alpha"])
    rank = a.shape[0]
    return _Change(a, b, alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank)


def _of_module(pattern: Any, module: str, otherwise: float) -> float:
    """Return what PEFT's pattern says of a module; names count as its end."""
    if isinstance(pattern, dict):
        for name, value in pattern.items():
            if module == name or module.endswith(f".{name}"):
                return float(value)
    return float(otherwise)
