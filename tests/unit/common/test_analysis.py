"""Words are stemmed by their language, and what one person writes with accents another finds without."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.analysis import STEMMERS, language_of, passage_stems, question_stems, stems_of

FRENCH = "Les éléphants mangeaient des feuilles sous les arbres pendant que la pluie tombait sur la forêt."
ENGLISH = "The elephants were eating leaves under the trees while the rain was falling on the forest."
GERMAN = "Die Elefanten fraßen Blätter unter den Bäumen, während der Regen auf den Wald fiel."


@pytest.mark.parametrize(("text", "language"), [(FRENCH, "fr"), (ENGLISH, "en"), (GERMAN, "")])
def test_a_text_s_language_is_one_of_those_asked_about_or_none(text, language):
    assert language_of(text, ("en", "fr")) == language


@pytest.mark.parametrize("text", ["", " \n", "42", "VPN", "mangeaient"])
def test_of_too_little_text_the_language_is_not_told(text):
    assert language_of(text, ("en", "fr")) == ""


def test_without_languages_none_is_told():
    assert language_of(ENGLISH, ()) == ""


def test_a_document_is_judged_by_more_than_its_beginning():
    assert language_of("OK. " + FRENCH * 200, ("en", "fr")) == "fr"


def test_forms_of_a_word_have_one_stem():
    assert stems_of("mangeaient manger", ["fr"]) == ["mang", "mang"]
    assert stems_of("running runs", ["en"]) == ["run", "run"]


def test_accents_ligatures_and_case_do_not_matter():
    assert stems_of("Éléphants", ["fr"]) == stems_of("elephant", ["en"]) == ["eleph"]
    assert stems_of("œuvres", ["fr"]) == stems_of("OEUVRE", ["fr"])
    assert stems_of("Straße", ["de"]) == stems_of("strasse", ["de"])


def test_a_word_written_apart_is_the_same_word():
    assert stems_of("e\u0301le\u0301phant", ["fr"]) == ["eleph"]


def test_of_several_languages_a_word_has_each_different_stem_once():
    assert stems_of("mangeaient run", ["en", "fr"]) == ["mangeaient", "mang", "run"]


def test_without_a_known_language_words_stay_whole():
    assert stems_of("Mangeaient", []) == stems_of("Mangeaient", ["zh"]) == ["mangeaient"]


def test_what_is_written_without_spaces_is_cut_into_characters():
    assert stems_of("東京 tower", ["en"]) == ["東", "京", "tower"]


def test_vowel_signs_stay_in_their_words():
    assert len(stems_of("हिन्दी भाषा", [])) == 2


@pytest.mark.parametrize("language", STEMMERS)
def test_every_language_that_is_offered_has_a_stemmer(language):
    assert stems_of("word", [language])


def test_a_short_question_finds_passages_of_each_language():
    passages = [passage_stems([FRENCH], "fr", ("en", "fr")), passage_stems([ENGLISH], "en", ("en", "fr"))]
    question = set(question_stems("elephant", ("en", "fr")))
    assert all(question & set(passage) for passage in passages)


def test_a_passage_of_an_unknown_language_is_found_in_each():
    stems = passage_stems(["mangeaient running"], "", ("en", "fr"))
    assert {"mang", "run"} <= set(stems)


@given(st.text(), st.lists(st.sampled_from(sorted(STEMMERS)), max_size=3, unique=True))
def test_any_text_gives_stems_without_spaces(text, languages):
    assert all(stem and not any(map(str.isspace, stem)) for stem in stems_of(text, languages))


@given(st.text())
def test_any_text_has_a_language_or_none(text):
    assert language_of(text, ("en", "fr")) in {"", "en", "fr"}
