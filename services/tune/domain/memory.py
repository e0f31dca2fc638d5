"""How much memory training takes, estimated before it begins."""

from dataclasses import dataclass, replace

from services.tune.domain.errors import InsufficientMemory

# What is learnt has float32 weights, gradients and two moments.
LEARNT_BYTES = 16
# Numbers of one token in one layer, times the hidden size: Korthikanti et al. (2022), without the scores that are not
# kept, and with what LoRA keeps beside.
KEPT_A_TOKEN, KEPT_WITH_CHECKPOINTING, KEPT_INSIDE = 21, 2, 4
# The interpreter with its libraries.
RUNTIME_BYTES = 1200 << 20
# Of all that a machine has: more is needed by others.
USED_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Size:
    """A model's size: weights, layers, the width of one, and that of its inner part."""

    parameters: int
    layers: int
    hidden: int
    inner: int


@dataclass(frozen=True, slots=True)
class Load:
    """What is held at once: weights that learn, models in memory, and the tokens that a device takes at a time.

    A model's weights, and what passes through them, have `computed_bytes` each: 2 in bfloat16, 4 in float32.
    """

    learnt: int
    models: int
    sequences: int
    tokens: int
    computed_bytes: int = 2
    checkpointing: bool = False


def estimate(size: Size, load: Load) -> int:
    """Return the bytes that training takes at most on one device."""
    weights = size.parameters * load.computed_bytes * load.models
    tokens = load.sequences * load.tokens
    width = KEPT_WITH_CHECKPOINTING if load.checkpointing else KEPT_A_TOKEN
    inner = 0 if load.checkpointing else KEPT_INSIDE * size.inner
    kept = tokens * size.layers * (width * size.hidden + inner)
    # One layer is made again while its gradients are.
    kept += tokens * (KEPT_A_TOKEN * size.hidden + KEPT_INSIDE * size.inner) if load.checkpointing else 0
    return weights + load.learnt * LEARNT_BYTES + kept * load.computed_bytes + RUNTIME_BYTES


def fitted(size: Size, load: Load, total: int) -> Load:
    """Return the load, with activations made again instead of kept where all the memory there is would not do.

    It goes by the memory that the machine has, not by what is free, so that the same run is the same again.
    """
    if estimate(size, load) <= total * USED_SHARE:
        return load
    return replace(load, checkpointing=True)


def check_memory(size: Size, load: Load, available: int) -> None:
    """Check that training fits what is free now.

    Raises:
        InsufficientMemory: it does not, with the figures.
    """
    needed = estimate(size, load)
    if needed > available:
        raise InsufficientMemory(
            f"training takes about {_gib(needed)} GiB and {_gib(available)} GiB are free; a lower micro_batch, a "
            "smaller base model or shorter examples take less",
            needed_bytes=needed,
            available_bytes=available,
            model_bytes=size.parameters * load.computed_bytes * load.models,
            learnt_bytes=load.learnt * LEARNT_BYTES,
            tokens_at_once=load.sequences * load.tokens,
        )


def _gib(count: int) -> str:
    return f"{count / (1 << 30):.1f}"
