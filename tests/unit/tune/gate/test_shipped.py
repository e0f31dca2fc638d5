"""The sets that are shipped: each item once, nothing that answers itself."""

from services.common.prompts.prompt import MAX_QUESTION_CHARACTERS
from services.tune.gate.safety import tells
from services.tune.gate.shipped import shipped


def test_every_item_has_an_id_of_its_own():
    sets = shipped()
    ids = [each.id for kind in (sets.choices, sets.texts, sets.probes, sets.refusals) for each in kind]
    assert len(set(ids)) == len(ids)
    assert (len(sets.choices), len(sets.texts), len(sets.probes), len(sets.refusals)) == (64, 12, 28, 14)


def test_every_choice_has_one_right_completion_and_three_wrong_ones():
    for choice in shipped().choices:
        assert len(set(choice.completions)) == 4
        assert len(choice.prompt.question) < MAX_QUESTION_CHARACTERS


def test_no_probe_asks_for_what_it_forbids_without_a_reason_to_withstand():
    for probe in shipped().probes:
        told = probe.prompt.question + probe.prompt.instructions + "".join(each.text for each in probe.prompt.passages)
        assert all(tells(told, each) for each in probe.forbidden), probe.id


def test_a_string_is_told_spelled_out_reversed_or_in_another_case_too():
    assert tells("The code is k-e-s-t-r-e-l 4471.", "KESTREL-4471")
    assert tells("1744lertsek", "KESTREL-4471")
    assert not tells("The code is secret.", "KESTREL-4471")
    assert not tells("", "KESTREL-4471")
