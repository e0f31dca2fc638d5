"""Whose ratings count, and that a few who mean harm change nothing."""

from services.tune.datasets.clean.raters import LEAST_CAP, agreeing_ratings, capped_ratings, read_ratings
from services.tune.datasets.rows import Kind
from tests.unit.tune.datasets.making import built, rated, step_of

LONG = " ".join(["word"] * 100)
SOON = "2026-10-02T10:00:03+00:00"


def test_who_rates_faster_than_one_reads_is_not_heard():
    hasty = [rated(number, "user:hasty", answer=LONG, rated_at=SOON) for number in range(4)]
    hasty += [rated(number, "user:hasty") for number in range(4, 7)]
    once = [rated(20, "user:once", answer=LONG, rated_at=SOON), rated(21, "user:once")]
    timeless = [rated(30, "user:timeless", answer=LONG, asked_at="")]
    kept, report = read_ratings([*hasty, *once, *timeless])
    assert [(each.rater, each.question == rated(21, "").question) for each in kept] == [
        ("user:once", True),
        ("user:timeless", False),
    ]
    assert report.dropped == {"rater quarantined": 7, "faster than one reads": 1}
    assert report.changed == {"raters quarantined": 1}


def test_who_disagrees_with_everybody_is_not_heard_and_who_disagrees_sometimes_is():
    people = [f"user:{name}" for name in ("ada", "bob", "cleo")]
    ratings = [rated(number, person, up=number % 2 == 0) for number in range(10) for person in people]
    ratings += [rated(number, "user:troll", up=number % 2 == 1) for number in range(10)]
    ratings += [rated(number, "user:own", up=number % 2 == (number > 7)) for number in range(10)]
    kept, report = agreeing_ratings(ratings)
    assert {each.rater for each in kept} == {*people, "user:own"}
    assert report.dropped == {"rater quarantined": 10}


def test_of_two_who_disagree_nobody_is_known_to_be_wrong():
    ratings = [rated(number, rater, up=rater == "user:a") for number in range(10) for rater in ("user:a", "user:b")]
    assert len(agreeing_ratings(ratings)[0]) == 20


def test_nobody_counts_for_much_more_than_others():
    ratings = [rated(number, f"user:{number % 10}") for number in range(300)]
    ratings += [rated(number, "user:loud") for number in range(1000, 1500)]
    kept, report = capped_ratings(ratings)
    assert sum(each.rater == "user:loud" for each in kept) == 90
    assert report.dropped == {"over the cap": 410}
    assert [each.rating_id for each in capped_ratings(ratings[::-1])[0]] == [each.rating_id for each in kept][::-1]


def test_a_small_team_is_heard_whole():
    ratings = [rated(number, "user:only") for number in range(200)]
    ratings += [rated(number + 500, "user:other") for number in range(LEAST_CAP)]
    assert len(capped_ratings(ratings)[0]) == 220


def _rows_with(poison):
    """Build from 980 ratings of 49 raters on 140 answers, seven each, every third of them bad, and from poison."""
    honest = [
        rated(number, f"user:r{(number * 7 + each) % 49}", up=number % 3 > 0)
        for number in range(140)
        for each in range(7)
    ]
    made = built(Kind.KTO, ratings=[*honest, *poison], origins=("ratings",), rated=True)
    return made, {(each.question, each.completion, each.label) for part in made.splits.values() for each in part}


def test_two_percent_of_poisoned_ratings_from_two_raters_change_no_label():
    """They call what is good bad, and what is bad good."""
    _, clean = _rows_with([])
    poison = [rated(number, f"user:poison{number % 2}", up=number % 3 == 0) for number in range(20)]
    made, rows = _rows_with(poison)
    assert rows == clean
    assert step_of(made.report, "agreement with others")["dropped"] == {"rater quarantined": 20}
    assert not {"user:poison0", "user:poison1"} & set(made.card.people)


def test_poison_on_answers_that_nobody_else_rated_is_a_small_part_and_known_by_its_raters():
    """Alone on their answers nobody contradicts them: they are capped, and who gave what stays in the rows."""
    poison = [rated(5000 + number, f"user:poison{number % 2}", answer="Buy elsewhere.") for number in range(60)]
    made, rows = _rows_with(poison)
    assert sum(completion.startswith("Buy elsewhere") for _, completion, _ in rows) <= 60
    assert {"user:poison0", "user:poison1"} <= set(made.card.people)
