"""The whole platform with its real engine, through the command alone: what a newcomer does on the first day."""

import json
import urllib.request
from pathlib import Path

import pytest
from kafka import KafkaConsumer
from tandem.embed.v1.events_pb2 import DeadLetter
from tandem.ingest.v1.events_pb2 import DocumentChanged

from tests.tandem_command import Tandem

pytestmark = pytest.mark.timeout(600)


def search(tandem: Tandem, query: str) -> list[str]:
    return [passage["text"] for passage in tandem.json("search", query)["passages"]]


def ask(tandem: Tandem, question: str, *options: str) -> dict[str, list[dict]]:
    """The events of an answer by their names."""
    done = tandem.run("ask", question, "--json", "--max-tokens", "32", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    events: dict[str, list[dict]] = {}
    for line in done.stdout.splitlines():
        event = json.loads(line)
        events.setdefault(event.pop("event"), []).append(event)
    return events


def test_every_service_is_healthy_and_measured(tandem: Tandem):
    state = tandem.json("status")
    assert {unit["phase"] for unit in state["units"]} == {"healthy"}
    measured = [unit["metrics_address"] for unit in state["units"] if unit["metrics_address"]]
    assert len(measured) == 7
    for address in measured:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
            assert b"python_info" in answer.read()


def test_a_folder_is_indexed_and_what_cannot_be_is_told_with_its_reason(tandem: Tandem):
    status = tandem.json("source", "status", "house")
    counts = status["source"]["counts"]
    assert (counts["pending"], counts["indexed"], counts["failed"]) == (0, 3, 1)
    [failure] = status["failures"]
    assert failure["external_id"] == "broken.pdf"
    assert failure["failure_reason"]
    assert failure["failure_reason"] in tandem.run("source", "status", "house").stdout


@pytest.mark.parametrize(
    ("query", "fact"),
    [
        ("How long is the warranty of the Tern kettle?", "9 years"),
        ("price of the Wren toaster", "54"),
        ("Combien coûte la livraison en Belgique ?", "6,90"),
    ],
)
def test_what_the_documents_say_is_found(tandem: Tandem, query: str, fact: str):
    assert fact in search(tandem, query)[0]


def test_an_answer_streams_with_passages_citations_usage_and_an_id(tandem: Tandem):
    events = ask(tandem, "How long is the warranty of the Tern kettle?")
    assert list(events) == ["retrieval_done", "token_delta", "citations", "usage", "end"]
    passages = events["retrieval_done"][0]["passages"]
    assert "9 years" in passages[0]["text"]
    assert len(events["token_delta"]) > 1
    text = "".join(event["text"] for event in events["token_delta"])
    assert text.strip()
    for citation in events["citations"][0]["citations"]:
        passage = passages[citation["passage_index"]]["text"]
        assert 0 <= citation["passage_start"] < citation["passage_end"] <= len(passage)
        assert 0 <= citation["answer_start"] < citation["answer_end"] <= len(text)
    assert 0 < events["usage"][0]["completion_tokens"] <= 32
    assert events["end"][0]["answer_id"]


def test_people_read_the_answer_and_its_id(tandem: Tandem):
    shown = tandem.run("ask", "How long do repairs take?", "--max-tokens", "16")
    assert shown.returncode == 0
    assert "answer " in shown.stdout
    assert "first token" in shown.stdout


def test_a_rating_is_stored_with_the_interaction_that_it_is_of(tandem: Tandem):
    question = "What does the Tern kettle cost?"
    answer_id = ask(tandem, question)["end"][0]["answer_id"]
    tandem.json("rate", answer_id, "down")
    tandem.json("rate", answer_id, "up", "--comment", "right", "--correction", "79 euros")

    [rating] = tandem.json("ratings")["ratings"]
    assert (rating["thumb"], rating["comment"], rating["correction"]) == ("up", "right", "79 euros")
    tandem.wait(lambda: rating["interaction_id"] in {each["interaction_id"] for each in interactions(tandem)})
    [stored] = [each for each in interactions(tandem) if each["interaction_id"] == rating["interaction_id"]]
    assert stored["question"] == question
    assert stored["answer"]
    assert stored["passages"]


def interactions(tandem: Tandem) -> list[dict]:
    stored = tandem.json("interactions")["interactions"]
    assert isinstance(stored, list)
    return stored


def test_a_follow_up_is_answered_with_what_was_said_before(tandem: Tandem):
    first = "Which products have a warranty?"
    ask(tandem, first, "--conversation", "talk-1")
    tandem.wait(lambda: first in {each["question"] for each in interactions(tandem)})
    second = "And how long is it for the toaster?"
    ask(tandem, second, "--conversation", "talk-1")
    tandem.wait(lambda: second in {each["question"] for each in interactions(tandem)})
    [stored] = [each for each in interactions(tandem) if each["question"] == second]
    assert stored["conversation_id"] == "talk-1"
    assert first in stored["prompt"]


def test_edits_and_deletions_in_a_watched_folder_are_seen(tandem: Tandem, documents: Path):
    note = documents / "note.md"
    note.write_text("# Opening hours\n\nThe shop in Namur opens at seven on Saturdays.\n")
    tandem.wait(lambda: any("opens at seven" in text for text in search(tandem, "When does the shop in Namur open?")))
    note.write_text("# Opening hours\n\nThe shop in Namur opens at eleven on Saturdays.\n")
    tandem.wait(lambda: any("opens at eleven" in text for text in search(tandem, "When does the shop in Namur open?")))
    assert not any("opens at seven" in text for text in search(tandem, "When does the shop in Namur open?"))
    note.unlink()
    tandem.wait(lambda: not any("Namur" in text for text in search(tandem, "When does the shop in Namur open?")))


def test_a_revoked_key_is_refused(tandem: Tandem):
    made = tandem.json("key", "create", "--name", "a colleague")
    key = ("--api-key", made["secret"])
    assert tandem.json("search", "warranty", *key)["passages"]
    tandem.json("key", "revoke", made["api_key"]["key_id"])
    tandem.wait(lambda: tandem.run("search", "warranty", *key).returncode == 1)
    assert tandem.error("search", "warranty", *key)["reason"] == "CREDENTIAL_INVALID"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("search", "x", "--api-key", "tandem_nobody"), "CREDENTIAL_INVALID"),
        (("source", "status", "nothing"), "SOURCE_NOT_FOUND"),
        (("source", "add", "files", "/there/is/nothing"), "PATH_NOT_FOUND"),
        (("source", "add", "push", "--name", "house"), "SOURCE_EXISTS"),
        (("rate", "bm90IG9uZQ", "up"), "INVALID_ANSWER_ID"),
        (("search", "x", "--top-k", "-1"), "INVALID_TOP_K"),
        (("ask", "x" * 100_000), "QUESTION_TOO_LONG"),
        (("ask", " \n\t "), "EMPTY_QUESTION"),
        (("ask", "x", "--assistant", "nobody"), "ASSISTANT_NOT_FOUND"),
        (("ask", "x", "--timeout", "0.005"), "DEADLINE_EXCEEDED"),
        (("adapters", "load", "a", "/there/is/nothing"), "ADAPTER_NOT_FOUND"),
        (("key", "revoke", "nothing"), "API_KEY_NOT_FOUND"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_cannot_be_done_ends_with_its_reason(tandem: Tandem, arguments: tuple[str, ...], reason: str):
    assert tandem.error(*arguments)["reason"] == reason


def dead_letters(tandem: Tandem, name: str) -> int:
    """How many dead letters tell of the file of that name."""
    broker = tandem.unit("broker").address
    consumer = KafkaConsumer("documents.dead", bootstrap_servers=broker, auto_offset_reset="earliest")
    try:
        letters = [DeadLetter.FromString(raw.value) for batch in consumer.poll(2000).values() for raw in batch]
    finally:
        consumer.close()
    return sum(DocumentChanged.FromString(letter.value).external_id == name for letter in letters)


def test_what_cannot_be_indexed_is_a_dead_letter_and_is_tried_again_when_replayed(tandem: Tandem):
    tandem.wait(lambda: dead_letters(tandem, "broken.pdf") == 1)
    assert tandem.json("source", "replay", "house")["replayed"] == 1
    tandem.json("wait", "--timeout", "120")
    [failure] = tandem.json("source", "status", "house")["failures"]
    assert (failure["external_id"], failure["version"]) == ("broken.pdf", 2)
    tandem.wait(lambda: dead_letters(tandem, "broken.pdf") == 2)


def test_an_empty_folder_is_told_and_not_waited_for(tandem: Tandem, tmp_path: Path):
    tandem.json("source", "add", "files", str(tmp_path), "--name", "empty", "--no-watch")
    waited = tandem.run("wait", "--source", "empty", "--timeout", "60")
    assert waited.returncode == 0
    assert "holds no documents" in waited.stdout
    tandem.json("source", "remove", "empty")


def test_a_removed_source_is_not_found_any_more(tandem: Tandem, tmp_path: Path):
    (tmp_path / "secret.md").write_text("# Recipe\n\nThe marmalade needs quinces from Olargues.\n")
    tandem.json("source", "add", "files", str(tmp_path), "--name", "recipes")
    tandem.json("wait", "--source", "recipes", "--timeout", "60")
    assert any("Olargues" in text for text in search(tandem, "marmalade quinces"))
    tandem.json("source", "remove", "recipes")
    tandem.json("wait", "--timeout", "60")
    assert not any("Olargues" in text for text in search(tandem, "marmalade quinces"))
    assert "recipes" not in {source["name"] for source in tandem.json("source", "list")["sources"]}
