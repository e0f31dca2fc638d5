"""What a training run computes with: defaults by method, size of model and amount of data, and what may be asked for.

docs/tuning.md says which paper each default is from.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum

from services.tune.domain.errors import InvalidHyperparameters

SMALL, LARGE = 1_000_000_000, 10_000_000_000
FEW_ROWS, MANY_ROWS = 1000, 10_000
MOST_RANK = 256


class Method(StrEnum):
    """How an adapter is trained."""

    SFT = "sft"
    DPO = "dpo"
    KTO = "kto"
    GRPO = "grpo"


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """What training computes with.

    `batch_size` is the examples of one step on all devices together, of GRPO the completions; `micro_batch`
    how many of them a device takes at a time. `alpha` is LoRA's scale times its rank. `max_steps` of 0 leaves the
    end to `epochs`. `desirable_weight` and `undesirable_weight` are KTO's, 0 for what the data asks for. `generations`
    are GRPO's completions of one prompt, `answer_tokens` the most that each of them takes.
    """

    rank: int
    alpha: int
    dropout: float
    learning_rate: float
    warmup_ratio: float
    epochs: int
    max_steps: int
    batch_size: int
    micro_batch: int
    beta: float
    desirable_weight: float
    undesirable_weight: float
    generations: int
    temperature: float
    answer_tokens: int


@dataclass(frozen=True, slots=True)
class Bound:
    """What may be asked for, both ends included."""

    low: float
    high: float


BOUNDS: Mapping[str, Bound] = {
    "rank": Bound(1, MOST_RANK),
    "alpha": Bound(1, 2 * MOST_RANK),
    "dropout": Bound(0, 0.5),
    "learning_rate": Bound(1e-7, 1e-2),
    "warmup_ratio": Bound(0, 0.5),
    "epochs": Bound(1, 20),
    "max_steps": Bound(1, 100_000),
    "batch_size": Bound(1, 1024),
    "micro_batch": Bound(1, 256),
    "beta": Bound(0, 10),
    "desirable_weight": Bound(0.01, 100),
    "undesirable_weight": Bound(0.01, 100),
    "generations": Bound(2, 64),
    "temperature": Bound(0.1, 2),
    "answer_tokens": Bound(8, 4096),
}
_WHOLE = frozenset(field.name for field in fields(Hyperparameters) if field.type == "int" or field.type is int)

# By size of the model: small, middle, large.
_LEARNING_RATES = {
    Method.SFT: (5e-4, 2e-4, 1e-4),
    Method.DPO: (5e-5, 2e-5, 5e-6),
    Method.KTO: (5e-5, 2e-5, 5e-6),
    Method.GRPO: (2e-5, 1e-5, 1e-5),
}
_BETAS = {Method.SFT: 0.0, Method.DPO: 0.1, Method.KTO: 0.1, Method.GRPO: 0.04}
_WARMUPS = {Method.SFT: 0.03, Method.DPO: 0.1, Method.KTO: 0.1, Method.GRPO: 0.0}
_SFT_RANK, _PREFERENCE_RANK, _GENERATIONS = 16, 8, 8
_ANSWER_TOKENS = 256
_GRPO_ANSWER_TOKENS = 128


def defaults(method: Method, parameters: int, rows: int) -> Hyperparameters:
    """Return the defaults for a model of so many parameters and a data set of so many rows."""
    size = 0 if parameters < SMALL else 1 if parameters < LARGE else 2
    rank = _SFT_RANK if method is Method.SFT else _PREFERENCE_RANK
    online = method is Method.GRPO
    return Hyperparameters(
        rank=rank,
        alpha=2 * rank,
        dropout=0.0,
        learning_rate=_LEARNING_RATES[method][size],
        warmup_ratio=_WARMUPS[method],
        epochs=_epochs(method, rows),
        max_steps=0,
        batch_size=4 * _GENERATIONS if online else 8 if rows < FEW_ROWS else 16 if rows < MANY_ROWS else 64,
        micro_batch=_GENERATIONS if online else 4 if size < 2 else 2,  # noqa: PLR2004 - the large ones
        beta=_BETAS[method],
        desirable_weight=0.0,
        undesirable_weight=0.0,
        generations=_GENERATIONS,
        temperature=1.0,
        answer_tokens=_GRPO_ANSWER_TOKENS if online else _ANSWER_TOKENS,
    )


def _epochs(method: Method, rows: int) -> int:
    if method is Method.SFT:
        return 3 if rows < MANY_ROWS else 2
    return 2 if method is Method.KTO and rows < MANY_ROWS else 1


def check_overrides(overrides: Mapping[str, float], max_rank: int) -> None:
    """Check what a request asks for instead of defaults.

    Raises:
        InvalidHyperparameters: something is unknown, out of bounds or no whole number, or the engine's rank is lower.
    """
    for name, value in overrides.items():
        bound = BOUNDS.get(name)
        if bound is None:
            raise InvalidHyperparameters("there is no such hyper-parameter", name=name[:50])
        if not bound.low <= value <= bound.high:
            raise InvalidHyperparameters("out of bounds", name=name, value=value, low=bound.low, high=bound.high)
        if name in _WHOLE and value != int(value):
            raise InvalidHyperparameters("not a whole number", name=name, value=value)
    if overrides.get("rank", 1) > max_rank:
        raise InvalidHyperparameters("no engine here serves so high a rank", rank=overrides["rank"], limit=max_rank)


def resolved(default: Hyperparameters, overrides: Mapping[str, float], max_rank: int) -> Hyperparameters:
    """Return the defaults with what a request asks for; what hangs together follows.

    A rank that no engine here serves is lowered. Without an own `alpha` it is twice the rank. A device takes no more
    than a step has, and of GRPO a step has whole groups of `generations`.
    """
    values = {name: int(value) if name in _WHOLE else value for name, value in overrides.items()}
    found = replace(default, **values)  # type: ignore[arg-type]  # whole numbers are made above
    rank = min(found.rank, max_rank)
    found = replace(found, rank=rank, alpha=found.alpha if "alpha" in overrides else 2 * rank)
    if "generations" in overrides and "batch_size" not in overrides:
        found = replace(found, batch_size=4 * found.generations)
    return replace(found, micro_batch=min(found.micro_batch, found.batch_size))


def figures(hyperparameters: Hyperparameters) -> dict[str, float]:
    """Return them by name."""
    return asdict(hyperparameters)
