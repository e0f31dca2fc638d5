"""How tokens are drawn, within what an engine can do."""

from dataclasses import dataclass

from services.generate.domain.errors import InvalidSampling

DEFAULT_MAX_TOKENS = 256
MAX_TEMPERATURE = 2.0


@dataclass(frozen=True, slots=True)
class Sampling:
    """`temperature` 0 is greedy; `seed` 0 is none."""

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


def checked(sampling: Sampling, limit: int) -> Sampling:
    """Return `sampling` with its zeroes read as defaults, and `max_tokens` clipped to `limit`.

    Raises:
        InvalidSampling: a number is negative, not finite, or out of its range.
    """
    if sampling.max_tokens < 0:
        raise InvalidSampling("max_tokens is negative", max_tokens=sampling.max_tokens)
    # Written so that NaN, which compares false with everything, is refused.
    if not 0 <= sampling.temperature <= MAX_TEMPERATURE:
        raise InvalidSampling("temperature is not between 0 and 2", temperature=sampling.temperature)
    if not 0 <= sampling.top_p <= 1:
        raise InvalidSampling("top_p is not between 0 and 1", top_p=sampling.top_p)
    return Sampling(
        min(sampling.max_tokens or DEFAULT_MAX_TOKENS, limit),
        sampling.temperature,
        sampling.top_p or 1.0,
        sampling.seed,
    )
