"""What makes a LoRA adapter one that the engine can run."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.common.lora.errors import InvalidAdapter, InvalidAdapterName

Shape = tuple[int, ...]

_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
_TENSOR = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
_LAYERED = re.compile(r".*\.\d+\..*\.weight")
_QUANTIZATION = re.compile(r"[.-](I?Q\d\w*|F16|F32|BF16)$", re.IGNORECASE)
MATRIX = 2
MAX_DOCUMENTS = 100_000
MAX_USERS = 10_000
MAX_ID_CHARACTERS = 256

# What PEFT can train and the engine cannot run, with the value that stands for "not used".
_UNUSED = {"bias": "none", "use_dora": False, "modules_to_save": None}


@dataclass(frozen=True, slots=True)
class BaseModel:
    """What adapters are trained on: tensors by name; none where the engine has no weights to fit."""

    name: str
    shapes: Mapping[str, Shape]
    max_rank: int


@dataclass(frozen=True, slots=True)
class Lineage:
    """The documents, and the people as principals, that an adapter learnt from; both empty where nobody says."""

    documents: tuple[str, ...] = ()
    users: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter's files, checked, in a local folder."""

    digest: str
    rank: int
    base_model: str
    folder: str
    lineage: Lineage = Lineage()


def checked_name(name: str) -> str:
    """Return `name`.

    Raises:
        InvalidAdapterName: it is not 1 to 100 letters, digits, '.', '_' and '-'.
    """
    if not _NAME.fullmatch(name):
        raise InvalidAdapterName("an adapter's name is 1 to 100 letters, digits, '.', '_' and '-'")
    return name


def model_name(model: str) -> str:
    """Return the last part of a model's path or name, without its quantization."""
    name = model.rstrip("/").rpartition("/")[2]
    return _QUANTIZATION.sub("", name.removesuffix(".gguf"))


def tunable(shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return the weights that an adapter may be of: the matrices in the model's numbered layers.

    Not those of the vocabulary: vLLM 0.32 leaves an adapter's part of `lm_head` out of log-probabilities
    (its issue 51594), and where any may have one, it dies of scoring a prompt beside an answer.
    """
    return {name: shape for name, shape in shapes.items() if _LAYERED.fullmatch(name) and len(shape) == MATRIX}


def check_config(config: Any, base: BaseModel) -> int:
    """Return the rank that PEFT's adapter_config.json gives.

    Raises:
        InvalidAdapter: it is no LoRA for this base model, or uses what the engine cannot run.
    """
    if not isinstance(config, dict) or str(config.get("peft_type")).upper() != "LORA":
        raise InvalidAdapter("the configuration is not a LoRA's")
    trained_on = config.get("base_model_name_or_path")
    if trained_on and model_name(str(trained_on)) != base.name:
        raise InvalidAdapter("trained on another base model", base_model=base.name)
    for field, unused in _UNUSED.items():
        if (config.get(field) or unused) != unused:
            raise InvalidAdapter("the engine cannot run this kind of adapter", field=field)
    if not _is_number(config.get("lora_alpha")):
        raise InvalidAdapter("lora_alpha is not a number")
    _check_targets(config.get("target_modules"), base)
    return _rank(config, base.max_rank)


def lineage_of(value: Any) -> Lineage:
    """Return the lineage in a lineage.json.

    Raises:
        InvalidAdapter: it is none, or too long.
    """
    if not isinstance(value, dict) or not value.keys() <= {"documents", "users"}:
        raise InvalidAdapter("the lineage is not an object of documents and users")
    documents = _ids(value.get("documents", []), "documents", MAX_DOCUMENTS)
    return Lineage(documents, _ids(value.get("users", []), "users", MAX_USERS))


def _ids(value: object, kind: str, limit: int) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > limit:
        raise InvalidAdapter("the lineage has no list, or one that is too long", field=kind, limit=limit)
    for one in value:
        if not isinstance(one, str) or not 0 < len(one) <= MAX_ID_CHARACTERS or "\0" in one:
            raise InvalidAdapter("the lineage has what is no id", field=kind)
    return tuple(sorted(set(value)))


def check_tensors(tensors: Mapping[str, Shape], rank: int, base: BaseModel) -> None:
    """Check that the weights fit the base model's, in pairs of at most `rank`.

    Raises:
        InvalidAdapter: some do not.
    """
    sides: dict[str, dict[str, Shape]] = {}
    for name, shape in tensors.items():
        match = _TENSOR.fullmatch(name)
        if match is None:
            raise InvalidAdapter("a tensor is not a LoRA's", tensor=name[:200])
        sides.setdefault(match["module"], {})[match["side"]] = shape
    if not sides:
        raise InvalidAdapter("the adapter has no weights")
    for module, pair in sides.items():
        _check_pair(module, pair, rank, base)


def _check_pair(module: str, pair: Mapping[str, Shape], rank: int, base: BaseModel) -> None:
    a, b = pair.get("A", ()), pair.get("B", ())
    if len(a) != len(b) or len(a) != MATRIX or a[0] != b[1]:
        raise InvalidAdapter("the two sides do not fit each other", module=module[:200])
    if not 1 <= a[0] <= rank:
        raise InvalidAdapter("the weights have another rank than the configuration", module=module[:200])
    if not base.shapes:
        return
    weight = base.shapes.get(f"{module}.weight")
    if weight is None:
        raise InvalidAdapter("the base model has no such module to tune", module=module[:200])
    if weight != (b[0], a[1]):
        raise InvalidAdapter("the weights do not fit the base model's", module=module[:200])


def _check_targets(targets: object, base: BaseModel) -> None:
    """Check the modules' names; a pattern is left to the tensors, which say what was trained."""
    if isinstance(targets, str):
        return
    if not isinstance(targets, list) or not all(isinstance(target, str) for target in targets):
        raise InvalidAdapter("target_modules is not a list of names")
    if not base.shapes:
        return
    modules = {name.removesuffix(".weight") for name in base.shapes}
    for target in targets:
        if not any(module == target or module.endswith(f".{target}") for module in modules):
            raise InvalidAdapter("the base model has no such module to tune", module=target[:200])


def _rank(config: Mapping[str, Any], limit: int) -> int:
    patterns = config.get("rank_pattern") or {}
    ranks = [config.get("r"), *(patterns.values() if isinstance(patterns, dict) else (None,))]
    if not all(isinstance(rank, int) and not isinstance(rank, bool) and rank > 0 for rank in ranks):
        raise InvalidAdapter("the rank is not a positive number")
    rank = max(int(str(rank)) for rank in ranks)
    if rank > limit:
        raise InvalidAdapter("the rank is too high", rank=rank, limit=limit)
    return rank


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")
