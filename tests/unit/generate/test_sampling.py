"""How tokens may be drawn."""

import math

import pytest

from services.generate.domain.errors import InvalidSampling
from services.generate.domain.sampling import Sampling, checked


def test_zeroes_are_read_as_defaults():
    assert checked(Sampling(0, 0.0, 0.0, 0), 1000) == Sampling(256, 0.0, 1.0, 0)


def test_more_tokens_than_the_limit_are_clipped():
    assert checked(Sampling(10_000), 1000).max_tokens == 1000
    assert checked(Sampling(0), 100).max_tokens == 100


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(-1),
        Sampling(-(2**31)),
        Sampling(1, temperature=-0.1),
        Sampling(1, temperature=2.1),
        Sampling(1, temperature=math.nan),
        Sampling(1, temperature=math.inf),
        Sampling(1, top_p=-0.1),
        Sampling(1, top_p=1.1),
        Sampling(1, top_p=math.nan),
    ],
)
def test_what_cannot_be_drawn_is_refused(sampling):
    with pytest.raises(InvalidSampling):
        checked(sampling, 1000)


@pytest.mark.parametrize("seed", [-1, 2**63 - 1, -(2**63)])
def test_any_seed_is_kept(seed):
    assert checked(Sampling(1, seed=seed), 1000).seed == seed
