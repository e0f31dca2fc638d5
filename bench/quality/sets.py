"""The sets that are measured: real ones where TANDEM_BENCH_DATA names their folder, each with its bar."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from services.common.evaluation.questions import Duplicates, Question, QuestionSet, read_set

ROOT = Path(__file__).parent.parent.parent
DATA = Path(os.environ.get("TANDEM_BENCH_DATA", "") or "/nonexistent")
NDCG = "nDCG@10"
ALL_EVIDENCE = "all@8"


@dataclass(frozen=True, slots=True)
class KnownSet:
    """A BEIR folder, and what a search must reach on it."""

    name: str
    measure: str = NDCG
    at_least: float | None = None

    @property
    def folder(self) -> Path:
        return ROOT / self.name if self.name == "examples" else DATA / self.name

    @property
    def is_here(self) -> bool:
        return self.folder.is_dir()


@dataclass(frozen=True, slots=True)
class Document:
    """A document of a set: what is pushed under `id`."""

    id: str
    title: str
    content: bytes
    media_type: str = "text/markdown"


KNOWN = {
    each.name: each
    for each in (
        KnownSet("cranfield", at_least=0.415),
        KnownSet("xquad_en"),
        KnownSet("feedbackqa_dev", at_least=0.60),
        KnownSet("scifact", at_least=0.70),
        KnownSet("2wiki", ALL_EVIDENCE, at_least=0.45),
        KnownSet("piaf_fr", at_least=0.80),
    )
}


EXAMPLES = KnownSet("examples")


def documents_of(known: KnownSet) -> list[Document]:
    if known == EXAMPLES:
        # Of many kinds: each is found out.
        paths = sorted(path for path in (known.folder / "company").rglob("*") if path.is_file())
        return [Document(path.relative_to(known.folder).as_posix(), "", path.read_bytes(), "") for path in paths]
    rows = (json.loads(line) for line in (known.folder / "corpus.jsonl").open(encoding="utf-8"))
    # Cranfield has two without a word: no search can find them, and no platform takes them.
    return [
        Document(row["_id"], row.get("title", ""), _markdown(row.get("title", ""), row["text"]))
        for row in rows
        if row["text"].strip()
    ]


def _markdown(title: str, text: str) -> bytes:
    return (f"# {title}\n\n{text}\n" if title else f"{text}\n").encode()


def questions_of(known: KnownSet, split: str = "test") -> QuestionSet:
    if known == EXAMPLES:
        rows = [json.loads(line) for line in (known.folder / "questions.jsonl").open(encoding="utf-8")]
        asked = [
            Question(str(number), row["question"], (row["answer"],), {row["document"]: 1})
            for number, row in enumerate(rows)
        ]
        return QuestionSet(known.name, tuple(asked))
    # Published sets ask some questions twice; without them the figures could not be compared.
    return read_set(known.folder, split, Duplicates.KEEP)


def spread(questions: QuestionSet, count: int) -> QuestionSet:
    """Return `count` questions taken at equal distances, so that they are about everything."""
    asked = questions.questions
    if len(asked) <= count:
        return questions
    return QuestionSet(questions.name, tuple(asked[place * len(asked) // count] for place in range(count)))
