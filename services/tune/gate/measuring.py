"""What was measured of candidate and live on the same items, as figures with intervals, and as differences in pairs."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from services.common.evaluation.answers import SAYS_NOTHING, Part
from services.common.evaluation.bootstrap import Difference, Estimate, difference, estimate
from services.tune.domain.gate_rules import RATIOS

# Each measure's part of one item.
Parts = Mapping[str, Part]


@dataclass(frozen=True, slots=True)
class Item:
    """One item as both did it; those of a `group` depend on each other, "" depends on nothing.

    Of a ratio the live side has no part: the candidate's is its own time over the live one's.
    """

    section: str
    id: str
    live: Parts
    candidate: Parts
    group: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A measure of both, of items that say something about it; `groups` counts those that are independent."""

    measure: str
    candidate: Estimate
    live: Estimate | None
    difference: Difference | None
    items: int
    groups: int


@dataclass(frozen=True, slots=True)
class _Sums:
    """Parts of groups, in the groups' order."""

    upper: list[float] = field(default_factory=list)
    lower: list[float] = field(default_factory=list)

    def columns(self) -> tuple[list[float], list[float]]:
        return self.upper, self.lower

    def add(self, parts: Sequence[Part]) -> None:
        self.upper.append(sum(part[0] for part in parts))
        self.lower.append(sum(part[1] for part in parts))


def figures_of(items: Sequence[Item]) -> dict[str, Figure]:
    """Return the figure of every measure that something is known of, in the order in which they come.

    Groups are drawn whole: what one rater says, or one conversation shows, is no independent evidence. So no two
    raters, however much they rate, can show by themselves that something is better: often enough, neither is drawn.
    """
    measures = dict.fromkeys(measure for item in items for measure in item.candidate)
    found = {measure: _figure(measure, items) for measure in measures}
    return {measure: figure for measure, figure in found.items() if figure}


def _figure(measure: str, items: Sequence[Item]) -> Figure | None:
    groups: defaultdict[str, list[tuple[Part, Part]]] = defaultdict(list)
    for item in items:
        theirs, others = item.candidate.get(measure, SAYS_NOTHING), item.live.get(measure, SAYS_NOTHING)
        # What neither says anything of is no evidence, and would only count as some.
        if theirs[1] or others[1]:
            groups[item.group or f"{item.section}/{item.id}"].append((theirs, others))
    candidate, live = _Sums(), _Sums()
    for members in groups.values():
        candidate.add([theirs for theirs, _ in members])
        live.add([others for _, others in members])
    own = estimate(*candidate.columns()) if groups else None
    if own is None:
        return None
    counts = sum(map(len, groups.values())), len(groups)
    if measure in RATIOS:
        return Figure(measure, own, None, None, *counts)
    compared = difference(live.columns(), candidate.columns())
    return Figure(measure, own, estimate(*live.columns()), compared, *counts)
