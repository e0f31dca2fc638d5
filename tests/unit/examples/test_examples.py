"""The examples are whole: enough of them, in every format, and each question's document is there."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

EXAMPLES = Path("examples")
COMPANY = EXAMPLES / "company"
QUESTIONS = [json.loads(line) for line in (EXAMPLES / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
PLAIN = {".md", ".html", ".csv", ".eml"}


def words_of(text):
    return set(re.findall(r"\w+", re.sub(r"<[^>]+>", "", text).casefold()))


def test_every_format_is_there():
    endings = Counter(path.suffix for path in COMPANY.rglob("*") if path.is_file())
    assert endings.keys() == PLAIN | {".pdf", ".docx", ".xlsx", ".pptx"}
    assert endings.total() >= 36


def test_there_are_questions_in_both_languages_and_none_twice():
    assert len({question["question"] for question in QUESTIONS}) == len(QUESTIONS) >= 40
    french = sum("produits/" in item["document"] or "politiques/" in item["document"] for item in QUESTIONS)
    assert french >= 10


@pytest.mark.parametrize("item", QUESTIONS, ids=lambda item: item["question"])
def test_the_answers_figures_stand_in_the_document(item):
    path = EXAMPLES / item["document"]
    assert path.is_file()
    if path.suffix in PLAIN:
        figures = {word for word in words_of(item["answer"]) if word[0].isdigit()}
        assert figures <= words_of(path.read_text(encoding="utf-8"))
