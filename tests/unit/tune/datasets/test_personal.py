"""Personal data goes out of every text of a row, and what only looks like it stays."""

import pytest

from services.common.prompts.prompt import Turn
from services.tune.datasets.clean.personal import Patterns, PersonalData, SpacyNames, no_names
from services.tune.datasets.rows import RowPassage
from tests.unit.tune.datasets.making import row

PATTERNS = Patterns()


def cleaned(one, names=(), not_personal=(), finder=no_names):
    [kept], report = PersonalData(names, not_personal, finder, PATTERNS)([one])
    return kept, report


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Write to ludivine.arsac@mail.example today.", "Write to <EMAIL_ADDRESS> today."),
        ("Call 06 39 98 14 52 or +33 4 77 00 11 22.", "Call <PHONE_NUMBER> or <PHONE_NUMBER>."),
        ("Card 4111 1111 1111 1111, please.", "Card <CREDIT_CARD>, please."),
        ("IBAN FR76 3000 6000 0112 3456 7890 189.", "IBAN <IBAN_CODE>."),
        ("It is at 192.168.1.4 now.", "It is at <IP_ADDRESS> now."),
        # These are what answers are made of.
        ("MA-22-000946 costs €1,890 for 20 000 km.", "MA-22-000946 costs €1,890 for 20 000 km."),
        ("On 2026-10-13 at 10:12 ticket TCK-4812.", "On 2026-10-13 at 10:12 ticket TCK-4812."),
    ],
)
def test_what_has_a_form_is_found(text, left):
    kept, _ = cleaned(row(1, completion=text))
    assert kept.completion == left


def test_names_that_are_known_go_everywhere_in_a_row():
    one = row(
        1,
        question="Can Ada Lovelace open it?",
        completion="Ada Lovelace can, says Grace [1].",
        passages=(RowPassage("d1", "Ada Lovelace's key", "Ask Ada Lovelace, not the adagio."),),
        history=(Turn("Who is Ada Lovelace?", "She is ada."),),
        people=("user:grace.hopper@example.com",),
    )
    kept, report = cleaned(one, names=["Ada Lovelace <ada@example.com>"])
    assert kept.question == "Can <PERSON> open it?"
    assert kept.completion == "<PERSON> can, says <PERSON> [1]."
    assert kept.passages[0].title == "<PERSON>'s key"
    assert kept.passages[0].text == "Ask <PERSON>, not the adagio."
    assert kept.history[0] == Turn("Who is <PERSON>?", "She is ada.")
    assert report.changed["PERSON"] >= 5


def test_what_is_said_not_to_be_personal_stays():
    text = "Write to aide@marlouve.example or bob@mail.example, or call 06 39 98 14 52."
    kept, _ = cleaned(row(1, completion=text), not_personal=["@marlouve.example", "06 39 98 14 52"])
    assert kept.completion == "Write to aide@marlouve.example or <EMAIL_ADDRESS>, or call 06 39 98 14 52."


def test_a_model_finds_names_of_several_words_but_no_products():
    finder = SpacyNames({"fr": "fr_core_news_sm", "en": "no_such_model"})
    assert finder.languages == ("fr",)
    rows = [
        row(
            number,
            language="fr",
            question="Bonjour, je suis Ludivine Arsac, et mon Alba de Marlouve fuit : que faire ?",
            passages=(RowPassage(f"d{number}", "Alba, la machine de Marlouve", "La machine Alba."),),
        )
        for number in range(2)
    ]
    kept, _ = PersonalData((), (), finder, PATTERNS)(rows)
    assert "<PERSON>" in kept[0].question
    assert "Ludivine" not in kept[0].question
    assert "Alba de Marlouve" in kept[0].question
