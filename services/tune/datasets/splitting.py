"""Parts a data set so that nothing of its test is in what is learnt: by conversation, likeness and time."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence

from services.tune.datasets.likeness import Groups, alike_questions, runs_of
from services.tune.datasets.rows import Row

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = (TRAIN, VALIDATION, TEST)


def split(rows: Sequence[Row], test_share: float, validation_share: float, seed: int) -> Mapping[str, list[Row]]:
    """Return the parts: the newest rows are the test, those before them the validation.

    Rows of one conversation stay together, and so do rows whose questions are nearly the same or whose
    answers share 13 words in a row. Rows without a time come in an order that the seed decides, as the
    oldest. The parts are the same in whatever order the rows come.
    """
    groups = _groups(sorted(rows, key=lambda row: row.id))
    groups.sort(key=lambda group: (max(row.at for row in group), _place(group, seed)), reverse=True)
    parts: dict[str, list[Row]] = {name: [] for name in SPLITS}
    wanted = {TEST: round(len(rows) * test_share), VALIDATION: round(len(rows) * validation_share)}
    for group in groups:
        parts[_part(parts, wanted, len(group))] += group
    return {name: sorted(found, key=lambda row: row.id) for name, found in parts.items()}


def _part(parts: Mapping[str, Sequence[Row]], wanted: Mapping[str, int], size: int) -> str:
    """Return where the next group goes; one that is much too large for what is measured on is learnt from."""
    for name in (TEST, VALIDATION):
        missing = wanted[name] - len(parts[name])
        if missing > 0 and size <= max(2 * missing, 1):
            return name
    return TRAIN


def _groups(rows: Sequence[Row]) -> list[list[Row]]:
    groups, alike = Groups(len(rows)), alike_questions()
    same: dict[str, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        near = alike.add(number, row.question)
        groups.join([*near, number])
        if row.conversation:
            same[f"conversation/{row.conversation}"].append(number)
        for answer in row.told:
            for run in runs_of(answer):
                same[f"words/{run}"].append(number)
    for numbers in same.values():
        groups.join(numbers)
    return [[rows[number] for number in group] for group in groups.all()]


def _place(group: Sequence[Row], seed: int) -> str:
    return hashlib.sha256(f"{seed}/{group[0].id}".encode()).hexdigest()
