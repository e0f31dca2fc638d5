"""The documents and questions that are measured with: real ones where they are at hand, else the examples."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
DATA = os.environ.get("TANDEM_BENCH_DATA", "")


@dataclass(frozen=True, slots=True)
class Corpus:
    """Texts to ingest, as Markdown files' contents, and questions about them."""

    name: str
    texts: tuple[str, ...]
    questions: tuple[str, ...]


def load(documents: int) -> Corpus:
    """Return SciFact's first `documents` abstracts where the data is at hand, else the examples."""
    folder = Path(DATA) / "scifact"
    if not DATA or not folder.exists():
        return _examples(documents)
    rows = [json.loads(line) for line in (folder / "corpus.jsonl").open()][:documents]
    questions = [json.loads(line)["text"] for line in (folder / "queries.jsonl").open()]
    return Corpus("scifact", tuple(f"# {row['title']}\n\n{row['text']}\n" for row in rows), tuple(questions))


def _examples(documents: int) -> Corpus:
    folder = ROOT / "examples"
    texts = [path.read_text() for path in sorted(folder.rglob("*.md"))]
    questions = [json.loads(line)["question"] for line in (folder / "questions.jsonl").open()]
    # Repeated under another heading, so that no two documents are the same.
    many = [f"# Copy {number // len(texts)}\n\n{texts[number % len(texts)]}" for number in range(documents)]
    return Corpus("examples", tuple(many), tuple(questions))
