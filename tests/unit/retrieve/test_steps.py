"""Questions are taken apart by rule where one search is not enough, and left whole where it is."""

import pytest

from services.retrieve.domain.steps import MAX_SEARCHES, Searched, further_searches, interleaved
from tests.unit.retrieve.rows import hit

KETTLE = hit(
    "film", 0, title="The Silver Kettle", text="The Silver Kettle is a 1931 film directed by Mia Lund. It stars Bo Ek."
)


def first(question, *hits):
    return further_searches(question, [Searched(question, hits)])


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Which film came first, The Silver Kettle or Northern Lights?", ["The Silver Kettle", "Northern Lights"]),
        ("Are Vasa Island and Long Reef in the same country?", ["Vasa Island", "Long Reef"]),
        ("Who is older, Mia Lund or Bo Ek?", ["Mia Lund", "Bo Ek"]),
        ("Was Sir Tom Wheat, 1st Baronet or Bo Ek born first?", ["Sir Tom Wheat, 1st Baronet", "Bo Ek"]),
    ],
)
def test_what_is_compared_is_searched_for_one_by_one(question, expected):
    assert first(question) == expected


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Where was the director of The Silver Kettle born?", ["Mia Lund"]),
        ("Where was The Silver Kettle's director born?", ["Mia Lund"]),
        ("Who is the father of the director of film The Silver Kettle?", ["Mia Lund"]),
    ],
)
def test_a_relation_goes_on_to_whom_the_passage_names_in_it(question, expected):
    assert first(question, KETTLE) == expected


def test_two_parents_are_two_searches():
    king = hit("king", 0, title="Lothar II", text="Lothar II was the second son of Emperor Lothar I and Irma of Tours.")
    assert first("When did Lothar Ii's mother die?", king) == ["Emperor Lothar I", "Irma of Tours"]


def test_where_no_passage_is_about_the_name_the_name_is_searched_for_first():
    question = "Where was the director of The Silver Kettle born?"
    other = hit("other", 0, title="Births of directors", text="The director was born in Oslo.")
    searches = [Searched(question, [other])]
    assert further_searches(question, searches) == ["The Silver Kettle"]
    searches.append(Searched("The Silver Kettle", [KETTLE]))
    assert further_searches(question, searches) == ["Mia Lund"]


def test_a_chain_goes_on_from_what_was_found_last():
    question = "Who is the father of the director of The Silver Kettle?"
    lund = hit("lund", 0, title="Mia Lund", text="Mia Lund was a daughter of Per Lund, a baker in Bergen.")
    searches = [Searched(question, [KETTLE]), Searched("Mia Lund", [lund])]
    assert further_searches(question, searches)[0] == "Per Lund"


@pytest.mark.parametrize(
    "question",
    [
        "how long is the warranty",
        "What is the warranty of the Tern kettle?",
        "Where is the Eiffel Tower?",
        "Can I return it or exchange it?",
        "Qui est le directeur de la Bibliothèque nationale ?",
        "0-dimensional biomaterials show inductive properties.",
        "",
        "?!",
        "( " * 4000,
        "A" * 8000,
    ],
)
def test_what_one_search_answers_is_searched_once(question):
    assert first(question, KETTLE) == []


def test_nothing_is_searched_for_twice():
    question = "Who is older, Mia Lund or Bo Ek?"
    searches = [Searched(question, ()), Searched("Mia Lund", ()), Searched("Bo Ek", ())]
    assert further_searches(question, searches) == []


def test_a_round_has_a_few_searches_at_most():
    crowd = "directed by " + ", ".join(f"Person{chr(97 + n)} Name{chr(97 + n)}" for n in range(20))
    anchors = [hit(f"d{n}", 0, title="The Silver Kettle", text=crowd) for n in range(3)]
    assert len(first("Who is the director of The Silver Kettle?", *anchors)) <= MAX_SEARCHES


def test_the_best_of_each_search_come_first_and_scores_never_rise():
    question = Searched("q", [hit("a", 0, 0.9), hit("b", 0, 0.8), hit("c", 0, 0.7)])
    other = Searched("Mia Lund", [hit("d", 0, 1.0), hit("b", 0, 0.6)])
    merged = interleaved([question, other])
    assert [one.document_id for one in merged] == ["a", "d", "b", "c"]
    assert [one.score for one in merged] == [0.9, 0.9, 0.8, 0.7]


def test_of_a_search_for_a_name_the_passage_that_has_it_as_its_title_is_best():
    other = Searched(
        "Mia Lund", [hit("film", 0, 1.0, title="Kettle"), hit("lund", 0, 0.5, title="Mia Lund (director)")]
    )
    merged = interleaved([Searched("q", [hit("a", 0, 0.9)]), other])
    assert [one.document_id for one in merged] == ["a", "lund", "film"]


def test_one_search_stays_as_it_is():
    hits = [hit("a", 0, 0.9), hit("b", 0, 0.8)]
    assert interleaved([Searched("q", hits)]) == hits
