"""What each method learns from, as columns of tokens."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from datasets import Dataset

from services.common.prompts.errors import EmptyQuestion, QuestionTooLong
from services.tune.domain.errors import TooLittleData
from services.tune.domain.hyperparameters import Hyperparameters, Method
from services.tune.training.encoding import Encoder
from services.tune.training.rows import Example, Row, order_of

# With fewer nothing general is learnt.
FEWEST = {Method.SFT: 8, Method.DPO: 8, Method.KTO: 8, Method.GRPO: 4}
FEWEST_PREFERENCES = 8
IGNORED = -100

Columns = Callable[[Example, Encoder], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Material:
    """What is learnt, in its order; `left_out` rows did not fit the model, `longest` is in tokens."""

    dataset: Dataset
    examples: Sequence[Example]
    left_out: int
    longest: int


def rows_of(path: Path) -> list[Row]:
    """Return the rows of a parquet file."""
    # By way of Dataset a copy would stay in the library's own cache, where no erasure looks.
    rows: list[Row] = pq.read_table(path).to_pylist()
    return rows


def material_of(method: Method, rows: Sequence[Row], encoder: Encoder, numbers: Hyperparameters, seed: int) -> Material:
    """Return what a method learns from rows.

    Raises:
        TooLittleData: too few rows are left.
    """
    examples, columns, left_out = _encoded(rows, encoder, _COLUMNS[method])
    if len(examples) < FEWEST[method]:
        raise TooLittleData(
            "too few examples fit the model", examples=len(examples), left_out=left_out, least=FEWEST[method]
        )
    if method is Method.KTO and len({column["label"] for column in columns}) == 1:
        raise TooLittleData("all answers are good, or all are bad: nothing tells them apart", examples=len(examples))
    order = order_of([float(each.row["weight"]) for each in examples], numbers.epochs, seed)
    if method is Method.KTO:
        # The last batch is whole too: KTO compares the answers of a batch with each other's questions.
        order += order[: -len(order) % numbers.micro_batch]
    longest = max(map(_length, columns))
    if method is Method.GRPO:
        longest = max(len(each.prompt_ids) for each in examples) + numbers.answer_tokens
    return Material(Dataset.from_list([columns[number] for number in order]), examples, left_out, longest)


def preferences_of(rows: Iterable[Row], encoder: Encoder) -> Dataset:
    """Return pairs of whole texts of which people preferred the first.

    Rows with a label are paired where the same question has a good answer and a bad one.

    Raises:
        TooLittleData: there are too few pairs.
    """
    _, found, _ = _encoded(list(_pairs(rows)), encoder, _preference)
    if len(found) < FEWEST_PREFERENCES:
        raise TooLittleData("too few answers are preferred to others", pairs=len(found), least=FEWEST_PREFERENCES)
    return Dataset.from_list(found)


def _encoded(
    rows: Sequence[Row], encoder: Encoder, columns_of: Columns
) -> tuple[list[Example], list[dict[str, Any]], int]:
    """Return what fits of the rows, with its columns, and how many rows do not."""
    examples: list[Example] = []
    found: list[dict[str, Any]] = []
    for row in rows:
        try:
            prompt = encoder.prompt(row)
        except (EmptyQuestion, QuestionTooLong):
            continue
        example = Example(row, prompt.token_ids, prompt.passage_indexes)
        if columns := columns_of(example, encoder):
            examples.append(example)
            # Rewards find the example of a completion by this number.
            found.append(columns | {"prompt": str(len(examples) - 1)} if "prompt" in columns else columns)
    return examples, found, len(rows) - len(examples)


def _sft(example: Example, encoder: Encoder) -> dict[str, Any]:
    answer = encoder.answer(example.row["completion"])
    if not encoder.fits(example.prompt_ids, answer):
        return {}
    return {"input_ids": example.prompt_ids + answer, "labels": [IGNORED] * len(example.prompt_ids) + answer}


def _dpo(example: Example, encoder: Encoder) -> dict[str, Any]:
    chosen, rejected = encoder.answer(example.row["chosen"]), encoder.answer(example.row["rejected"])
    if not encoder.fits(example.prompt_ids, chosen, rejected):
        return {}
    return {"prompt_ids": example.prompt_ids, "chosen_ids": chosen, "rejected_ids": rejected}


def _kto(example: Example, encoder: Encoder) -> dict[str, Any]:
    answer = encoder.answer(example.row["completion"])
    if not encoder.fits(example.prompt_ids, answer):
        return {}
    return {"prompt_ids": example.prompt_ids, "completion_ids": answer, "label": bool(example.row["label"])}


def _grpo(_example: Example, _encoder: Encoder) -> dict[str, Any]:
    return {"prompt": ""}


def _preference(example: Example, encoder: Encoder) -> dict[str, Any]:
    found = _dpo(example, encoder)
    return {side: example.prompt_ids + found[side] for side in ("chosen_ids", "rejected_ids")} if found else {}


_COLUMNS: dict[Method, Columns] = {Method.SFT: _sft, Method.DPO: _dpo, Method.KTO: _kto, Method.GRPO: _grpo}


def _length(columns: dict[str, Any]) -> int:
    if "input_ids" in columns:
        return len(columns["input_ids"])
    answers = [len(columns[name]) for name in ("chosen_ids", "rejected_ids", "completion_ids") if name in columns]
    return len(columns.get("prompt_ids", ())) + max(answers, default=0)


def _pairs(rows: Iterable[Row]) -> Iterable[Row]:
    good: dict[str, list[Row]] = {}
    bad: dict[str, list[Row]] = {}
    for row in rows:
        if row.get("chosen") and row.get("rejected"):
            yield row
        elif row.get("completion") and row.get("label") is not None:
            (good if row["label"] else bad).setdefault(" ".join(row["question"].casefold().split()), []).append(row)
    for question, liked in good.items():
        for one, other in zip(liked, bad.get(question, ()), strict=False):
            yield {**one, "chosen": one["completion"], "rejected": other["completion"]}
