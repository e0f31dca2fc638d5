"""Which questions ask nearly the same: short ones differ in a name or a number alone."""

import pytest

from services.tune.datasets.likeness import alike_questions

SAME = [
    ("Who repairs the Golden Lizard?", "who repairs the golden lizard"),
    ("Who repairs the Golden Lizard?", "Who repairs the Golden Lizard, please?"),
    # One that says less may mean the same.
    ("How do I open the machine in 2024?", "How do I open the machine?"),
    ("How do I open the Tern machine?", "How do I open the machine?"),
    ("What happens on 3 March?", "What happens on March 3?"),
    ("Do I pay €1,500 for the repair?", "Do I pay 1500 € for the repair?"),
]
OTHER = [
    ("Who repairs the Golden Lizard?", "Who repairs the Golden Salmon?"),
    ("Can you tell me: who builds the Ivory Walrus?", "Can you tell me: who builds the Ivory Hornet?"),
    ("What does ticket 4711 say about the delivery?", "What does ticket 4712 say about the delivery?"),
    ("Was the invoice of 3 March paid in time?", "Was the invoice of 4 March paid in time?"),
]


@pytest.mark.parametrize(("first", "second"), SAME)
def test_questions_that_ask_nearly_the_same_are_alike(first: str, second: str):
    for one, other in ((first, second), (second, first)):
        alike = alike_questions()
        alike.add(1, one)
        assert alike.matches(other) == [1]


@pytest.mark.parametrize(("first", "second"), OTHER)
def test_questions_that_ask_of_another_name_number_or_date_are_not(first: str, second: str):
    alike = alike_questions()
    alike.add(1, first)
    assert alike.add(2, second) == []
    assert alike.matches(first) == [1]
