"""The sets that are measured: real ones where TANDEM_BENCH_DATA names their folder, each with its bar."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from services.common.evaluation.questions import Duplicates, QuestionSet, read_set

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
        return DATA / self.name

    @property
    def is_here(self) -> bool:
        return (self.folder / "corpus.jsonl").is_file()


@dataclass(frozen=True, slots=True)
class Text:
    """A document of a set: what is pushed under `id`."""

    id: str
    title: str
    body: str

    @property
    def markdown(self) -> str:
        return f"# {self.title}\n\n{self.body}\n" if self.title else f"{self.body}\n"


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


def documents_of(known: KnownSet) -> list[Text]:
    rows = (json.loads(line) for line in (known.folder / "corpus.jsonl").open(encoding="utf-8"))
    return [Text(row["_id"], row.get("title", ""), row["text"]) for row in rows]


def questions_of(known: KnownSet, split: str = "test") -> QuestionSet:
    # Published sets ask some questions twice; without them the figures could not be compared.
    return read_set(known.folder, split, Duplicates.KEEP)


def spread(questions: QuestionSet, count: int) -> QuestionSet:
    """Return `count` questions taken at equal distances, so that they are about everything."""
    asked = questions.questions
    if len(asked) <= count:
        return questions
    return QuestionSet(questions.name, tuple(asked[place * len(asked) // count] for place in range(count)))
