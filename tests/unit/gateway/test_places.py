"""Where cited words stand in the document."""

from hypothesis import given
from hypothesis import strategies as st

from services.gateway.domain.places import Placed, document_span


def test_a_passage_that_is_the_documents_own_is_only_moved():
    assert document_span(Placed(100, 1000, 1100), 10, 20) == (1010, 1020)


def test_a_repeated_header_is_none_of_the_documents_characters_there():
    table = Placed(120, 1000, 1100)  # 20 characters of header
    assert document_span(table, 0, 20) == (1000, 1000)
    assert document_span(table, 10, 30) == (1000, 1010)
    assert document_span(table, 20, 120) == (1000, 1100)


def test_where_blanks_were_left_out_the_span_is_wide_enough():
    joined = Placed(95, 1000, 1100)  # 5 blanks fewer, somewhere
    first, last = document_span(joined, 10, 20)
    assert first <= 1010
    assert last >= 1025


@given(st.data())
def test_no_span_leaves_its_passage(data):
    length = data.draw(st.integers(1, 1000))
    begins = data.draw(st.integers(0, 10_000))
    ends = begins + data.draw(st.integers(0, 2000))
    start = data.draw(st.integers(0, length))
    end = data.draw(st.integers(start, length))
    first, last = document_span(Placed(length, begins, ends), start, end)
    assert begins <= first <= last <= ends
