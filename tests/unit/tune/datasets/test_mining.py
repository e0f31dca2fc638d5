"""What documents ask and answer, found by rule, and the rows that it makes."""

from dataclasses import replace

import pytest

from services.common.grounding.abstention import says_nothing
from services.tune.datasets.citing import cited, marked, uncited
from services.tune.datasets.counting import Tally
from services.tune.datasets.mine.documents import Chunk, Document
from services.tune.datasets.mine.rows import MOST_PASSAGES, Found, rows_of_pairs
from services.tune.datasets.mine.rules import mine
from services.tune.datasets.rows import Kind, RowPassage

FAQ = """# Help

**How can I pay for a machine?** By card, by transfer, and from **€300** in
instalments. Instalments are offered in France only.

**Is there a showroom in Lyon?** No.

## Where is the serial number?

Alba: under the [drip tray](tray.md). Duo: behind the tank.

## What do I need?

| tool | size |
| --- | --- |

Q: How loud is the Duo?
A: It makes 62 dB(A) while brewing.
"""
CHAT = """# Chat of Tuesday

Channel: chat. Agent: Solveig. Rating by the customer: {rating} of 5.

**09:12 Rowena:** Hello! My Alba drips.

**09:13 Solveig:** I am sorry. Since when?

**09:15 Rowena:** Since May. Do I have to send the machine in?

**09:16 Solveig:** No, we post you the pump kit K-04 free of charge. Shall I?

**09:18 Rowena:** Is it hard to fit?

**09:20 Solveig:** It has two plugs and two hoses, and takes half an hour.

## Notes

**Solveig:** Was that all?
"""
TICKET = """# TCK-4812: The grinder grinds unevenly

| Status | {status} on 29 July |
| --- | --- |

## Description

It chirps.

## Resolution

Residue under the burrs tilted them. One foil brought the alignment back.
"""
TABLE = """| ticket | subject | status | resolution | rating |
| --- | --- | --- | --- | --- |
| 1 | Steam wand drips when closed | closed | Seal kit K-03 was sent to the customer | 5 |
| 2 | Machine is far too loud | closed | We told the customer that it is normal | 2 |
| 3 | Which filter for hard water | open | Source filter from 15 degrees on | |
| 4 | Which beans for a Duo | resolved | Any medium roast does well | |
"""
MAIL = """From: Ada
Subject: Re: Parts

Hello Noor,

Thank you, it works now!

On Monday, Noor wrote:
> Hello Ada,
>
> The seal kit K-03 costs nine euros. It comes by post.
>
> On Sunday, Ada wrote:
>> Hello,
>>
>> What does the seal kit for the Alba cost?
"""


def document(text: str, *, kind: str = "text", size: int = 0) -> Document:
    ends = range(size, len(text) + size, size) if size else [len(text)]
    starts = [end - size for end in ends] if size else [0]
    chunks = tuple(
        Chunk(str(start), start, min(end, len(text)), text[start:end]) for start, end in zip(starts, ends, strict=True)
    )
    return Document("doc", "Title", "shop", kind, "en", "", "2026-10-01T00:00:00+00:00", chunks)


def pairs(text: str, **own) -> dict[str, str]:
    return {each.pair.question: each.pair.answer for each in mine(document(text, **own), Tally("documents"))}


def test_an_article_is_asked_what_it_asks_itself():
    assert pairs(FAQ) == {
        "How can I pay for a machine?": "By card, by transfer, and from €300 in instalments."
        " Instalments are offered in France only.",
        "Where is the serial number?": "Alba: under the drip tray. Duo: behind the tank.",
        "How loud is the Duo?": "It makes 62 dB(A) while brewing.",
    }


def test_a_chat_that_ended_well_tells_what_its_agent_answered():
    assert pairs(CHAT.format(rating=5)) == {
        "Since May. Do I have to send the machine in?": "No, we post you the pump kit K-04 free of charge.",
        "Is it hard to fit?": "It has two plugs and two hoses, and takes half an hour.",
    }
    assert pairs(CHAT.format(rating=2)) == {}


def test_a_question_of_a_chat_comes_with_what_was_said_before():
    found = mine(document(CHAT.format(rating=5)), Tally("documents"))
    assert [turn.question for turn in found[1].pair.history] == [
        "Hello! My Alba drips.",
        "Since May. Do I have to send the machine in?",
    ]
    assert {each.conversation for each in found} == {"doc"}


@pytest.mark.parametrize(("status", "count"), [("closed", 1), ("open", 0), ("closely watched", 0)])
def test_a_ticket_tells_what_was_done_once_it_is_closed(status, count):
    assert len(pairs(TICKET.format(status=status))) == count


def test_a_table_of_tickets_tells_of_those_that_ended_well():
    assert pairs(TABLE, kind="table") == {
        "Steam wand drips when closed": "Seal kit K-03 was sent to the customer",
        "Which beans for a Duo": "Any medium roast does well",
    }


def test_a_mail_thread_tells_what_its_asker_gave_thanks_for():
    told = {"What does the seal kit for the Alba cost?": "The seal kit K-03 costs nine euros. It comes by post."}
    assert pairs(MAIL, kind="mail") == told
    assert pairs(MAIL.replace("it works now!", "but what now?"), kind="mail") == {}
    assert pairs(MAIL.replace("Thank you, it works now!", "Thank you in advance."), kind="mail") == {}


def test_an_answer_that_two_chunks_share_is_counted_and_left_out():
    tally = Tally("documents")
    assert mine(document(FAQ, size=60), tally) == [] or tally.dropped["answer stands in no one passage"]
    assert tally.dropped["answer stands in no one passage"] >= 1


def test_a_document_is_put_together_as_it_was_though_chunks_overlap_and_repeat_headers():
    text = "head\nrow one\nrow two"
    chunks = (Chunk("a", 0, 12, text[:12]), Chunk("b", 8, 12, "head\n one"), Chunk("c", 13, 20, "head\nrow two"))
    whole = Document("d", "T", "s", "table", "", "", "", chunks).text()
    assert whole == text


def found(number: int, **own) -> Found:
    facts = {
        "question": f"What does part {number} cost?",
        "answer": f"Part {number} costs {number} euros.",
        "history": (),
        "passage": RowPassage("d", "Prices", f"Part {number} costs {number} euros."),
        "conversation": "",
        "at": "",
        "source": "shop",
        "language": "en",
        "found": tuple(RowPassage(f"o{each}", "Other", f"About {each} and hoses.") for each in range(6)),
    }
    return Found(**{**facts, **own})


@pytest.mark.parametrize("searched", ["not found", "found first"])
def test_rows_cite_the_passage_that_tells_which_stands_anywhere(searched):
    pairs = [found(number) for number in range(40)]
    if searched == "found first":
        pairs = [replace(each, found=(each.passage, *each.found)) for each in pairs]
    rows, _ = rows_of_pairs(Kind.SFT, pairs, 0, 0)
    places = set()
    for number, row in enumerate(rows):
        assert len({each.document_id for each in row.passages}) == MOST_PASSAGES
        place = [each.document_id for each in row.passages].index("d")
        places.add(place)
        assert row.completion == f"Part {number} costs {number} euros [{place + 1}]."
    assert len(places) == MOST_PASSAGES


def test_some_rows_say_that_the_passages_do_not_tell():
    pairs = [found(number) for number in range(80)]
    rows, report = rows_of_pairs(Kind.SFT, pairs, 4, 0)
    untold = [row for row in rows if says_nothing(row.completion)]
    assert 10 <= len(untold) <= 30
    assert report.changed["whose passages do not tell"] == len(untold)
    assert all("d" not in {each.document_id for each in row.passages} for row in untold)
    # Where another document says it, too, the passages do tell.
    also = tuple(RowPassage("e", "Copy", f"Part {number} costs {number} euros.") for number in range(80))
    known, _ = rows_of_pairs(Kind.SFT, [found(number, found=also) for number in range(80)], 1, 0)
    for row in known:
        if says_nothing(row.completion):
            assert not any(f" {row.question.split()[3]} euros" in each.text for each in row.passages)
    prompts, _ = rows_of_pairs(Kind.GRPO, pairs, 4, 0)
    assert {(bool(row.answers), row.answerable) for row in prompts} == {(True, True), (False, False)}


def test_markers_are_set_anew_where_passages_support():
    passages = [
        RowPassage("a", "Hours", "The shop closes at 6 pm."),
        RowPassage("b", "Price", "The kettle costs 35 euros."),
    ]
    answer = "The kettle costs 35 euros [1]. It can fly [2, 3]!"
    assert uncited(answer) == "The kettle costs 35 euros. It can fly!"
    assert cited(answer, passages, "What does the kettle cost?") == ("The kettle costs 35 euros [2]. It can fly!", 1)
    assert marked("At 6 pm", 0) == "At 6 pm [1]."
    assert marked("Really?!", 1) == "Really [2]?!"
