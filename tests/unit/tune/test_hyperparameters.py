"""Defaults by size and data, what may be asked for instead, and memory that is known before training begins."""

import pytest

from services.tune.domain.errors import InsufficientMemory, InvalidHyperparameters
from services.tune.domain.hyperparameters import BOUNDS, Hyperparameters, Method, check_overrides, defaults, resolved
from services.tune.domain.memory import Load, Size, check_memory, estimate, fitted

SMALL, MIDDLE, LARGE = 135_000_000, 3_000_000_000, 70_000_000_000
SMOLLM2 = Size(135_000_000, 30, 576, 1536)


@pytest.mark.parametrize("method", list(Method))
def test_larger_models_learn_in_smaller_steps(method):
    rates = [defaults(method, parameters, 500).learning_rate for parameters in (SMALL, MIDDLE, LARGE)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > rates[-1]


@pytest.mark.parametrize("method", list(Method))
def test_every_default_may_be_asked_for_itself(method):
    for rows in (10, 5000, 100_000):
        found = defaults(method, SMALL, rows)
        unset = {"max_steps", "desirable_weight", "undesirable_weight"}
        check_overrides({name: getattr(found, name) for name in BOUNDS if name not in unset}, found.rank)
    assert set(BOUNDS) == set(Hyperparameters.__dataclass_fields__)


def test_more_data_is_learnt_from_in_fewer_epochs_and_larger_steps():
    few, many = defaults(Method.SFT, SMALL, 100), defaults(Method.SFT, SMALL, 50_000)
    assert few.epochs > many.epochs
    assert few.batch_size < many.batch_size


@pytest.mark.parametrize(
    ("asked", "fact"),
    [
        ({"rnak": 8}, "name"),
        ({"learning_rate": 1.0}, "high"),
        ({"learning_rate": 0.0}, "low"),
        ({"epochs": 1.5}, "value"),
        ({"rank": 32}, "limit"),
        ({"beta": float("nan")}, "value"),
    ],
)
def test_what_cannot_be_computed_with_is_refused_by_name(asked, fact):
    with pytest.raises(InvalidHyperparameters) as refused:
        check_overrides(asked, max_rank=16)
    assert fact in refused.value.facts


def test_what_is_asked_for_wins_and_what_hangs_on_it_follows():
    default = defaults(Method.GRPO, SMALL, 500)
    found = resolved(default, {"rank": 4.0, "generations": 4.0}, 16)
    assert (found.rank, found.alpha, found.generations, found.batch_size) == (4, 8, 4, 16)
    assert isinstance(found.rank, int)
    assert resolved(default, {"alpha": 5}, 16).alpha == 5
    assert resolved(default, {"batch_size": 2}, 16).micro_batch == 2


def test_a_rank_that_the_engine_does_not_serve_is_lowered_where_nobody_asked_for_it():
    found = resolved(defaults(Method.SFT, SMALL, 500), {}, max_rank=8)
    assert (found.rank, found.alpha) == (8, 16)


def test_longer_and_more_sequences_take_more_memory_and_made_again_activations_less():
    one = Load(1_000_000, 1, 1, 512)
    for more in (Load(1_000_000, 1, 4, 512), Load(1_000_000, 1, 1, 2048), Load(5_000_000, 1, 1, 512)):
        assert estimate(SMOLLM2, more) > estimate(SMOLLM2, one)
    assert estimate(SMOLLM2, Load(1_000_000, 1, 4, 2048, checkpointing=True)) < estimate(
        SMOLLM2, Load(1_000_000, 1, 4, 2048)
    )
    assert estimate(SMOLLM2, Load(1_000_000, 2, 1, 512)) - estimate(SMOLLM2, one) == 270_000_000
    assert estimate(SMOLLM2, Load(1_000_000, 1, 1, 512, computed_bytes=4)) > estimate(SMOLLM2, one) + 270_000_000


def test_activations_are_made_again_where_the_machine_is_too_small_for_them():
    load = Load(1_000_000, 1, 4, 2048)
    assert not fitted(SMOLLM2, load, 64 << 30).checkpointing
    assert fitted(SMOLLM2, load, 8 << 30).checkpointing


def test_training_that_does_not_fit_is_refused_with_the_figures():
    large = Size(LARGE, 80, 8192, 28672)
    with pytest.raises(InsufficientMemory, match="GiB") as refused:
        check_memory(large, Load(100_000_000, 1, 2, 2048), 24 << 30)
    assert int(refused.value.facts["needed_bytes"]) > int(refused.value.facts["available_bytes"])
    check_memory(SMOLLM2, Load(1_000_000, 1, 1, 512), 24 << 30)
