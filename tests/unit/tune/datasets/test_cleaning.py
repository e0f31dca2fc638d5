"""Each step of the cleaning, at its edges."""

import pytest

from services.common.grounding.abstention import says_nothing, text_of
from services.common.prompts.prompt import Turn
from services.tune.datasets.clean.leakage import Golden, Leakage
from services.tune.datasets.clean.steps import Contradictions, Duplicates, Encodings, Languages
from services.tune.datasets.rows import Kind, RowPassage
from tests.unit.tune.datasets.making import lengths, row

FRENCH = "Combien coûte la livraison en Belgique pour un moulin ?"


def test_what_was_decoded_wrongly_is_mended():
    kept, report = Encodings(Kind.SFT)([row(1, question="Combien coÃ»te le cafÃ© ?")])
    assert kept[0].question == "Combien coûte le café ?"
    assert report.changed == {"mended": 1}


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        (Kind.SFT, {"completion": " \n"}),
        (Kind.DPO, {"completion": "", "chosen": "yes", "rejected": ""}),
        (Kind.GRPO, {"question": "\x00 "}),
    ],
)
def test_what_has_nothing_to_teach_is_empty(kind, own):
    kept, report = Encodings(kind)([row(1, **own)])
    assert (kept, report.dropped) == ([], {"empty": 1})


def test_a_question_without_a_known_answer_is_a_prompt():
    assert len(Encodings(Kind.GRPO)([row(1, completion="")])[0]) == 1


def test_only_wanted_languages_stay_and_no_answer_in_another_language():
    french = row(2, question=FRENCH, completion="La livraison en Belgique coûte sept euros [1].")
    mixed = row(3, question=FRENCH, completion="The delivery to Belgium costs seven euros today [1].")
    english = row(1, question="What does the grinder cost today?", completion="It costs ten euros [1].")
    kept, report = Languages()([english, french, mixed])
    assert [each.language for each in kept] == ["en", "fr"]
    assert report.dropped == {"answered in another language": 1}
    kept, report = Languages(("fr",))([english, french])
    assert [each.language for each in kept] == ["fr"]
    assert report.dropped == {"language en": 1}


def test_the_majority_says_what_is_good_and_a_tie_says_nothing():
    def opinions(number, good, bad):
        answers = [row(number, label=True, raters=(f"user:{each}",)) for each in range(good)]
        return answers + [row(number, label=False, raters=(f"user:x{each}",)) for each in range(bad)]

    kept, report = Contradictions()([*opinions(1, 2, 1), *opinions(2, 1, 1), *opinions(3, 0, 2)])
    assert [each.label for each in kept] == [True, True, False, False]
    assert report.dropped == {"outvoted": 1, "undecided": 2}


def test_a_pair_that_is_there_both_ways_round_is_none():
    pair = {"completion": "", "chosen": "It costs ten euros.", "rejected": "I do not know."}
    turned = {**pair, "chosen": pair["rejected"], "rejected": pair["chosen"]}
    kept, report = Contradictions()([row(1, **pair), row(1, **turned), row(2, **pair)])
    assert [each.chosen for each in kept] == [pair["chosen"]]
    assert report.dropped == {"undecided": 2}


def test_near_duplicates_go_but_not_what_says_the_opposite():
    long = "The warranty of the Alba espresso machine is five years from the day of its delivery to the customer"
    rows = [
        row(1, question="How long is the warranty of the Alba machine?", completion=f"{long} [1]."),
        row(2, question="How long is the warranty of the Alba machine ?", completion=f"{long}!"),
        row(3, question="How long is the warranty of the Alba machines?", completion=f"{long} [2]."),
        row(4, question="How long is the warranty of the Alba machine?", completion=text_of("en", offers=False)),
        row(5, question="How long is the warranty of the Alba machine?", completion=f"{long} [1].", label=False),
    ]
    kept, report = Duplicates()(rows)
    assert [each.documents for each in kept] == [("d1",), ("d4",), ("d5",)]
    assert report.dropped == {"exact duplicate": 1, "near duplicate": 1}


def test_golden_questions_and_their_words_are_not_learnt():
    said = "open the left panel and look whether the white wire sits firmly in its plug on the board"
    leak = Leakage([Golden("What does the golden boiler cost?", (said,)), Golden("Où essayer les machines ?")])
    rows = [
        row(1),
        row(2, question="what does the golden boiler cost"),
        row(3, question="What does a golden boiler cost??"),
        row(4, completion=f"You should {said}."),
        row(5, history=(Turn("Où essayer les machines?", "Ici."),)),
        row(6, passages=(RowPassage("d6", "Help", said),)),
    ]
    kept, report = leak(rows)
    assert [each.documents for each in kept] == [("d1",), ("d6",)]
    assert report.dropped == {"golden question": 3, "golden words": 1}


def test_what_does_not_fit_goes_and_so_does_what_cites_a_passage_that_does_not():
    long = RowPassage("d8", "Long", "word " * 2000)
    rows = [
        row(1),
        row(2, question="q " * 2000),
        row(3, completion="a " * 1200),
        row(4, passages=(*row(4).passages, long), completion="It is in the long one [2]."),
        row(5, passages=(*row(5).passages, long)),
        row(6, history=tuple(Turn("q " * 400, "a " * 400) for _ in range(9))),
    ]
    step = lengths(600)
    kept, report = step(rows)
    assert [each.documents for each in kept] == [("d1",), ("d5",), ("d6",)]
    assert report.dropped == {"question too long": 1, "answer too long": 1, "cited passage does not fit": 1}
    assert all(step.measure(each).whole <= 600 for each in kept)


@pytest.mark.parametrize("language", ["en", "fr", "de", "es", "it", "xx"])
def test_what_a_model_learns_to_say_where_passages_do_not_tell_is_known_as_that(language):
    assert says_nothing(text_of(language, offers=False))
