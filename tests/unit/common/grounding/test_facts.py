"""Dates, quantities and names, however they are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.grounding.facts import facts_of, numbers_agree


@pytest.mark.parametrize(
    "written",
    [
        "2026-03-03",
        "3 March 2026",
        "March 3, 2026",
        "March 3rd, 2026",
        "the 3rd of March, 2026",
        "3 mars 2026",
        "3. März 2026",
        "3 de marzo de 2026",
        "3 marzo 2026",
        "Mar. 3, 2026",
    ],
)
def test_one_day_is_one_date_in_any_writing(written):
    assert facts_of(f"It began on {written}.")[0].dates == {"2026-03-03"}


@pytest.mark.parametrize(
    ("text", "dates"),
    [
        ("in March 2026", {"2026-03"}),
        ("on 3 March", {"--03-03"}),
        ("31 February 2026", {"2026-02"}),
        ("you may return 3 lamps", set()),
        ("03/04/2026", set()),
    ],
)
def test_a_date_says_what_is_written_and_no_more(text, dates):
    assert facts_of(text)[0].dates == dates


@pytest.mark.parametrize(
    ("text", "quantities"),
    [
        ("1,000 km", {("1000", "km")}),
        ("1.5 million euros", {("1500000", "€")}),
        ("$5", {("5", "$")}),
        ("three or four days", {("3", ""), ("4", "d")}),
        ("the 1990s", {("1990", "")}),
        ("the 7th of them", {("7", "")}),
        ("the seventh of them", {("7", "")}),
        ("in 30天内", {("30", "")}),
    ],
)
def test_a_quantity_is_a_value_and_its_unit(text, quantities):
    assert facts_of(text)[0].quantities == quantities


@pytest.mark.parametrize(
    ("claim", "support", "agree"),
    [
        ("30 days", "within 30 days", True),
        ("30 days", "within 30 weeks", False),
        ("30 days", "30 or more", True),
        ("30", "30 km", True),
        ("in 2026", "on 2026-03-03", True),
        ("on 2026-03-03", "in 2026", False),
        ("nothing", "30", True),
    ],
)
def test_numbers_agree_where_value_and_unit_do(claim, support, agree):
    assert numbers_agree(facts_of(claim)[0], facts_of(support)[0]) is agree


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Yesterday Luke Short met NASA.", {"luk", "short", "nasa"}),
        ("NASA met them.", {"nasa"}),
        ("EVERYTHING IS LOUD", set()),
        ("The Title Of This", set()),
        ("It opens in March.", set()),
    ],
)
def test_names_are_the_stems_of_capitals_that_no_beginning_explains(text, names):
    assert facts_of(text)[0].names == names


@given(st.text(max_size=200))
def test_any_text_has_facts_that_agree_with_themselves(text):
    facts, _ = facts_of(text)
    assert numbers_agree(facts, facts)
