"""Passages that say nearly the same become one, and others never do."""

import random
import string

from hypothesis import given, settings
from hypothesis import strategies as st

from services.retrieve.domain.duplicates import ALIKE, SHINGLE_WORDS, distinct
from tests.unit.retrieve.rows import hit

TEXT = " ".join(f"word{number}" for number in range(60))


def _distinct(hits):
    return distinct(hits, len(hits))


def test_the_same_text_in_other_documents_is_found_once_with_all_its_places():
    single = _distinct([hit(name, 0, text=TEXT) for name in "abc"] + [hit("d", 0, text="something else " * 10)])
    assert [one.document_id for one in single.hits] == ["a", "d"]
    assert [one.document_id for one in single.copies["a/0"]] == ["b", "c"]


def test_no_more_are_looked_at_than_are_wanted():
    single = distinct([hit(name, 0, text=TEXT + name) for name in "abc"] + [hit("d", 0, text="other " * 20)] * 3, 1)
    assert [one.document_id for one in single.hits] == ["a"]


def test_case_and_layout_are_no_difference():
    single = _distinct([hit("a", 0, text=TEXT), hit("b", 0, text=TEXT.upper().replace(" ", "\n  "))])
    assert len(single.hits) == 1


def test_one_word_of_many_is_no_difference_and_a_paragraph_is():
    one_word = TEXT.replace("word59", "changed")
    paragraph = TEXT + " " + " ".join(f"more{number}" for number in range(20))
    assert len(_distinct([hit("a", 0, text=TEXT), hit("b", 0, text=one_word)]).hits) == 1
    assert len(_distinct([hit("a", 0, text=TEXT), hit("b", 0, text=paragraph)]).hits) == 2


def test_short_texts_are_never_the_same_for_where_they_stand_says_what_they_mean():
    assert len(_distinct([hit(name, 0, text="Ask at the reception.") for name in "ab"]).hits) == 2
    assert len(_distinct([hit(name, 0, text="") for name in "ab"]).hits) == 2


def test_the_better_of_two_that_are_alike_is_kept():
    assert [one.document_id for one in _distinct([hit("b", 0, text=TEXT), hit("a", 0, text=TEXT)]).hits] == ["b"]


@given(st.integers(0, 2**32), st.integers(12, 80))
@settings(max_examples=60, deadline=None)
def test_what_is_alike_is_what_comparing_every_pair_says(seed, length):
    chance = random.Random(seed)
    base = [chance.choice(string.ascii_lowercase) * 3 for _ in range(length)]
    texts = []
    for _ in range(8):
        words = list(base)
        for _ in range(chance.randrange(3)):
            words[chance.randrange(length)] = "changed"
        texts.append(" ".join(words))
    found = [one.text for one in _distinct([hit(str(number), 0, text=text) for number, text in enumerate(texts)]).hits]
    assert found == _kept_by_every_pair(texts)


def _kept_by_every_pair(texts):
    kept = []
    for text in texts:
        if all(_jaccard(text, other) < ALIKE for other in kept):
            kept.append(text)
    return kept


def _jaccard(one, other):
    first, second = (
        {tuple(text.split()[n : n + SHINGLE_WORDS]) for n in range(len(text.split()) - 4)} for text in (one, other)
    )
    return len(first & second) / len(first | second)
