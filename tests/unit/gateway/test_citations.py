"""What supports an answer, and what does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.domain.citations import LEAST_SUPPORT, cite

SHIPPING = "We ship within 3 business days. Orders above $1,000 ship free of charge."
RETURNS = "Returns are accepted within 30 days of delivery.\nSale items are not refundable."


def quoted(answer, passages):
    """Return each citation as (passage index, cited words of the answer, supporting words)."""
    return [
        (
            found.passage_index,
            answer[found.answer_start : found.answer_end],
            passages[found.passage_index][found.passage_start : found.passage_end],
        )
        for found in cite(answer, passages).citations
    ]


def test_each_sentence_is_held_against_the_sentence_that_says_the_same():
    answer = "You can return it within 30 days after delivery. Orders above 1000 ship for free!"
    assert quoted(answer, [SHIPPING, RETURNS]) == [
        (1, "You can return it within 30 days after delivery.", "Returns are accepted within 30 days of delivery."),
        (0, "Orders above 1000 ship for free!", "Orders above $1,000 ship free of charge."),
    ]


def test_numbers_count_passages_in_the_order_of_their_first_use():
    answer = "Returns are accepted within 30 days. Orders above $1,000 ship free. Sale items are not refundable."
    assert [(found.number, found.passage_index) for found in cite(answer, [SHIPPING, RETURNS]).citations] == [
        (1, 1),
        (2, 0),
        (1, 1),
    ]


@pytest.mark.parametrize(
    "answer",
    [
        "Returns are accepted within 14 days of delivery.",
        "Sale items are refundable.",
        "Returns are not accepted within 30 days of delivery.",
        "The moon is made of green cheese.",
        "Hello!",
        "[1] [2]",
        "🙂🙂🙂",
        "",
    ],
)
def test_what_no_passage_says_is_not_cited(answer):
    assert quoted(answer, [SHIPPING, RETURNS]) == []


def test_what_no_passage_says_is_counted_and_small_talk_is_not():
    cited = cite("The moon is green cheese. Yes! Returns are accepted within 30 days.", [RETURNS])
    assert (len(cited.citations), cited.unsupported_sentences) == (1, 1)


def test_one_word_may_be_the_whole_answer():
    assert quoted("Delivery.", [RETURNS]) == [(0, "Delivery.", "Returns are accepted within 30 days of delivery.")]


def test_a_claim_may_rest_on_two_sentences_that_follow_each_other():
    passage = "The Aurora lamp has a battery. It lasts twelve hours. It is blue."
    assert quoted("The Aurora lamp battery lasts twelve hours.", [passage]) == [
        (0, "The Aurora lamp battery lasts twelve hours.", "The Aurora lamp has a battery. It lasts twelve hours.")
    ]


def test_no_claim_rests_on_two_passages_at_once():
    assert quoted("The Aurora lamp battery lasts twelve hours.", ["The Aurora lamp.", "Lasts twelve hours long."]) == []


def test_the_better_passage_wins_where_two_say_the_same():
    assert [found.passage_index for found in cite("Orders ship free.", [SHIPPING, SHIPPING]).citations] == [0]


@pytest.mark.parametrize(
    ("answer", "passage"),
    [
        ("Nous remboursons sous 14 jours ouvrés.", "Le REMBOURSEMENT est effectue\u0301 sous 14 jours ouvre\u0301s."),
        ("Le prix est de 1 250,50 euros.", "Prix : 1\u202f250.50 euros"),
        ("商品可在30天内退货。", "退货政策：商品可在30天内退货。运费由客户承担。"),  # noqa: RUF001 - as it is typed
        ("يمكن إرجاع المنتجات خلال 30 يوما.", "يمكن إرجاع المنتجات خلال ٣٠ يومًا من الشراء."),
        ("환불은 30일 이내에 가능합니다.", "구매 후 30일 이내에 환불은 가능합니다."),
        ("वापसी 30 दिनों में होती है।", "वापसी ३० दिनों में होती है।"),
        ("ที่ร้านเปิดทุกวัน", "ร้านเปิดทุกวันและมีที่จอดรถ ที่ร้านเปิดทุกวัน"),
    ],
)
def test_any_script_is_held_against_its_like(answer, passage):
    assert [index for index, _, _ in quoted(answer, [passage])] == [0]


def test_an_abbreviation_ends_no_sentence():
    answer = "Ask Dr. Moreau about returns, e.g. within 30 days of delivery."
    assert [words for _, words, _ in quoted(answer, [f"{answer} Or call."])] == [answer]


texts = st.one_of(
    st.text(max_size=200),
    st.lists(st.sampled_from([SHIPPING, RETURNS, "[2]", "30", "ship.", "\n", "退货。", "e\u0301", "١٢", "n't"])).map(
        " ".join
    ),
)


@given(texts, st.lists(texts, max_size=4))
def test_every_citation_points_at_spans_that_exist(answer, passages):
    cited = cite(answer, passages)
    for found in cited.citations:
        passage = passages[found.passage_index]
        assert 0 <= found.answer_start < found.answer_end <= len(answer)
        assert 0 <= found.passage_start < found.passage_end <= len(passage)
        assert answer[found.answer_start : found.answer_end].strip()
        assert LEAST_SUPPORT <= found.support <= 1
    assert {found.number for found in cited.citations} == set(
        range(1, len({found.passage_index for found in cited.citations}) + 1)
    )
    assert cited.unsupported_sentences >= 0


@given(texts)
def test_no_passage_means_no_citation(answer):
    assert cite(answer, []).citations == ()
