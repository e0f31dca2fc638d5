"""What an answer of the model's own is rewarded for."""

import pytest

from services.tune.training.checkpoints import WHOLE, last_checkpoint
from services.tune.training.rewards import (
    cites,
    in_its_language,
    is_grounded,
    is_right,
    rewards_of,
    tells_what_it_knows,
    weight_of,
)
from services.tune.training.rows import Example, order_of
from tests.training_rows import row

SHOWN = Example(row(7, answers=["7 euros"], answerable=True), [1, 2, 3], (0,))
UNKNOWN = Example(row(7, answers=[], answerable=False), [1, 2, 3], (0,))


def test_an_answer_names_passages_that_it_was_given_and_no_others():
    assert cites(SHOWN, "It costs 7 euros [1].") == 1
    assert cites(SHOWN, "It costs 7 euros.") == 0
    assert cites(SHOWN, "It costs 7 euros [1][2].") == 0
    assert cites(SHOWN, "It costs 7 euros [0].") == 0
    assert cites(UNKNOWN, "I don't know.") == 1
    assert cites(UNKNOWN, "It costs 7 euros [1].") == 0


def test_what_stands_in_the_passages_is_grounded_and_what_is_invented_is_not():
    assert is_grounded(SHOWN, "It costs 7 euros [1].") == 1
    assert is_grounded(SHOWN, "It costs 9 euros [1].") == 0
    assert is_grounded(SHOWN, "") == 0
    assert is_grounded(UNKNOWN, "It costs 7 euros.") is None


def test_that_the_passages_do_not_tell_is_said_if_and_only_if_they_do_not():
    assert tells_what_it_knows(UNKNOWN, "The passages do not say.") == 1
    assert tells_what_it_knows(UNKNOWN, "It costs 7 euros.") == 0
    assert tells_what_it_knows(SHOWN, "The passages do not say.") == 0
    assert tells_what_it_knows(SHOWN, "It costs 7 euros.") == 1


def test_the_language_is_that_which_is_asked_for():
    assert in_its_language(SHOWN, "This part costs seven euros in every shop that we know of.") == 1
    assert in_its_language(SHOWN, "Cette pièce coûte sept euros dans tous les magasins de la ville.") == 0
    assert in_its_language(SHOWN, "7") == 0.5
    assert in_its_language(Example(row(7, language=""), [], ()), "7") is None


def test_words_of_a_right_answer_count_and_where_none_is_known_nothing_is_said():
    assert is_right(SHOWN, "7 euros [1].") == 1
    assert 0 < is_right(SHOWN, "It costs 7 euros [1].") < 1
    assert is_right(UNKNOWN, "7 euros") is None


def test_a_reward_finds_the_row_of_each_prompt_by_its_number():
    rewards = rewards_of([SHOWN, UNKNOWN], None, 0.0)
    by_name = {each.__name__: each for each in rewards}
    answer = "The passages do not say."
    assert by_name["tells_what_it_knows"](prompts=["1", "0"], completions=[answer, answer], trainer_state=None) == [
        1,
        0,
    ]


def test_a_reward_model_that_is_no_better_than_a_coin_counts_nothing():
    assert weight_of(0.4) == weight_of(0.5) == 0
    assert weight_of(0.75) == pytest.approx(0.5)


def test_rows_of_less_weight_are_in_fewer_epochs_and_the_order_hangs_on_the_seed_alone():
    weights = [1.0] * 50 + [0.25] * 50
    found = order_of(weights, epochs=20, seed=3)
    heavy = sum(number < 50 for number in found)
    assert heavy == 50 * 20
    assert 0.15 < (len(found) - heavy) / (50 * 20) < 0.35
    assert found == order_of(weights, epochs=20, seed=3)
    assert found != order_of(weights, epochs=20, seed=4)
    assert sorted(order_of([2.0, 2.0], epochs=1, seed=0)) == [0, 1]


def test_a_checkpoint_that_is_not_whole_is_not_taken_up(tmp_path):
    assert last_checkpoint(tmp_path) is None
    for step in (2, 10, 12):
        (tmp_path / f"checkpoint-{step}").mkdir()
    (tmp_path / "checkpoint-2" / WHOLE).touch()
    (tmp_path / "checkpoint-10" / WHOLE).touch()
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")
