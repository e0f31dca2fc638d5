"""Files that people send: every common format, and what is wrong named with its place."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.common.prompts.prompt import Turn
from services.tune.datasets import reading
from services.tune.datasets.errors import InvalidDatasetFile
from services.tune.datasets.reading import rows_in
from services.tune.datasets.rows import Kind

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello?"},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "What does it cost?"},
]
ANSWER = {"role": "assistant", "content": "Ten euros."}


def jsonl(*records) -> bytes:
    return "\n".join(json.dumps(each) for each in records).encode()


def parquet(*records) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(records)), out)
    return out.getvalue()


@pytest.mark.parametrize("write", [jsonl, parquet])
def test_a_chat_is_its_last_question_with_what_came_before(write):
    [one] = rows_in(Kind.SFT, "chat", write({"messages": [*CHAT, ANSWER]}))
    assert (one.question, one.completion) == ("What does it cost?", "Ten euros.")
    assert (one.instructions, one.history) == ("Be brief.", (Turn("Hello?", "Hello."),))


@pytest.mark.parametrize("write", [jsonl, parquet])
@pytest.mark.parametrize("chat", [True, False])
def test_the_common_formats_are_read(write, chat):
    prompt = CHAT if chat else "What does it cost?"
    good, bad = ([ANSWER], [{"role": "assistant", "content": "No."}]) if chat else ("Ten euros.", "No.")
    [one] = rows_in(Kind.SFT, "f", write({"prompt": prompt, "completion": good}))
    assert (one.question, one.completion) == ("What does it cost?", "Ten euros.")
    [one] = rows_in(Kind.DPO, "f", write({"prompt": prompt, "chosen": good, "rejected": bad}))
    assert (one.chosen, one.rejected) == ("Ten euros.", "No.")
    [one] = rows_in(Kind.KTO, "f", write({"prompt": prompt, "completion": bad, "label": False}))
    assert (one.completion, one.label) == ("No.", False)
    [one] = rows_in(Kind.GRPO, "f", write({"prompt": prompt, "answers": ["Ten euros."]}))
    assert (one.answers, one.answerable) == (("Ten euros.",), True)


def test_passages_may_come_with_a_row_but_no_documents_of_ours():
    record = {"prompt": "What?", "completion": "That [1].", "passages": ["That.", {"title": "T", "text": "This."}]}
    [one] = rows_in(Kind.SFT, "f", jsonl(record))
    assert [(each.document_id, each.title, each.text) for each in one.passages] == [
        ("", "", "That."),
        ("", "T", "This."),
    ]
    assert one.documents == ()


GOOD = {"prompt": "What?", "completion": "That."}


@pytest.mark.parametrize(
    ("kind", "content", "line", "column", "said"),
    [
        (Kind.SFT, b"", 0, "", "it is empty"),
        (Kind.SFT, b"\n \n", 0, "", "it has no rows"),
        (Kind.SFT, jsonl(GOOD) + b"\n{", 2, "", "no JSON, at character 2"),
        (Kind.SFT, jsonl(GOOD) + b'\n\n{"prompt": "caf\xe9"}', 3, "", "not UTF-8, at byte 16"),
        (Kind.SFT, jsonl(GOOD, [1]), 2, "", "no JSON object"),
        (Kind.SFT, jsonl(GOOD, {"prompt": "What?"}), 2, "completion", "it has no column completion"),
        (Kind.SFT, jsonl(GOOD | {"labell": True}), 1, "labell", "no such column"),
        (Kind.SFT, jsonl(GOOD | {"completion": 7}), 1, "completion", "neither a text nor a list"),
        (Kind.SFT, jsonl({"messages": CHAT}), 1, "messages", "the last message is of the assistant"),
        (Kind.SFT, jsonl({"messages": [ANSWER]}), 1, "messages", "take turns"),
        (Kind.SFT, jsonl({"messages": [{"role": "tool", "content": ""}]}), 1, "messages", "a message has a role"),
        (Kind.DPO, jsonl({"messages": [*CHAT, ANSWER]}), 1, "messages", "a pair has"),
        (Kind.KTO, jsonl(GOOD | {"label": "yes"}), 1, "label", "true or false"),
        (Kind.KTO, jsonl(GOOD), 1, "label", "it has no column label"),
        (Kind.GRPO, jsonl({"prompt": "x", "answers": "y"}), 1, "answers", "a list of texts"),
        (Kind.SFT, jsonl({"prompt": "x " * 5000, "completion": "y"}), 1, "prompt", "more than 8000 characters"),
        (Kind.SFT, b"PAR1 and no more", 0, "", "no Parquet"),
        (Kind.SFT, parquet(GOOD, {"prompt": "x", "completion": None}), 2, "completion", "it has no column"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(kind, content, line, column, said):
    with pytest.raises(InvalidDatasetFile, match=said) as error:
        rows_in(kind, "rows.jsonl", content)
    assert error.value.facts == {"file": "rows.jsonl", "line": str(line), "column": column}


def test_files_and_their_rows_are_bounded(monkeypatch):
    with pytest.raises(InvalidDatasetFile, match="larger than 32 MiB"):
        rows_in(Kind.SFT, "f", b" " * (reading.MAX_BYTES + 1))
    monkeypatch.setattr(reading, "MAX_ROWS", 2)
    with pytest.raises(InvalidDatasetFile, match="more than 2 rows"):
        rows_in(Kind.SFT, "f", jsonl(GOOD, GOOD, GOOD))
    monkeypatch.setattr(reading, "MAX_UNPACKED_BYTES", 10)
    with pytest.raises(InvalidDatasetFile, match="unpacks to more"):
        rows_in(Kind.SFT, "f", parquet(GOOD))
