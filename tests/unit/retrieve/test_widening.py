"""A passage is widened to its section, around its hit, as far as it stays short enough."""

from services.retrieve.domain.hits import Section
from services.retrieve.domain.passages import passages_of
from services.retrieve.domain.widening import BUDGET_CHARACTERS, sections_of, widened
from tests.unit.retrieve.rows import hit


def section(count, size=10, document_id="d", **facts):
    return [
        hit(
            document_id,
            number,
            section_first=0,
            section_last=count - 1,
            text=chr(97 + number) * size,
            start_offset=number * size,
            **facts,
        )
        for number in range(count)
    ]


def test_a_hit_comes_with_its_whole_section_and_its_own_score():
    chunks = section(5)
    passages = passages_of([chunks[2]], 8)
    assert sections_of(passages) == [Section("d", 1, 0, 4)]
    (passage,) = widened(passages, chunks)
    assert passage.text == "".join(chunk.text for chunk in chunks)
    assert (passage.first.start_offset, passage.end_offset) == (0, 50)
    assert passage.best == chunks[2]


def test_a_long_section_is_given_around_the_hit():
    size = BUDGET_CHARACTERS // 4
    chunks = section(10, size)
    (passage,) = widened(passages_of([chunks[5]], 8), chunks)
    assert len(passage.text) == BUDGET_CHARACTERS
    assert passage.first.ordinal == 4
    assert passage.end_offset == 8 * size


def test_what_may_not_be_read_is_a_gap_that_nothing_is_taken_from_behind():
    chunks = section(6)
    (passage,) = widened(passages_of([chunks[1]], 8), [one for one in chunks if one.ordinal != 3])
    assert passage.text == "".join(chunk.text for chunk in chunks[:3])


def test_a_section_of_one_chunk_is_asked_for_nothing():
    passages = passages_of([hit("d", 3)], 8)
    assert sections_of(passages) == []
    assert widened(passages, ()) == passages


def test_passages_that_come_to_touch_become_one_at_the_betters_place():
    chunks, other = section(5), hit("e", 0)
    passages = passages_of([chunks[4], other, chunks[0]], 8)
    assert len(passages) == 3
    first, second = widened(passages, chunks)
    assert (first.best, second.best) == (chunks[4], other)
    assert first.text == "".join(chunk.text for chunk in chunks)


def test_chunks_of_another_version_are_of_another_text():
    chunks = section(3)
    old = section(3, version=0, chunk_id="old")
    (passage,) = widened(passages_of([chunks[1]], 8), old)
    assert passage.text == chunks[1].text
