"""The gate's report as JSON has it: figures, rules, and which items a candidate did worst.

It holds no text of the tenant's: items are named by their ids, so that whoever reads the report sees of a data
set or of a golden set what they may read there, and an erasure there is one here.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from services.common.evaluation.answers import Part
from services.tune.domain.adapters import AdapterReport, Candidate
from services.tune.domain.gate_rules import RATIOS, KeptRules
from services.tune.gate.measuring import Figure, Item
from services.tune.gate.verdict import judged, passed

FORMAT = 1
WORST = 10


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything that was measured of a candidate against a digest, "" for the base model; `skipped` says why what not.

    `available` counts the items that each section had; those that are not among `items` were too many or too long.
    """

    items: Sequence[Item]
    available: Mapping[str, int]
    skipped: Mapping[str, str]
    seconds: float


def report_of(
    candidate: Candidate, live: str, kept: KeptRules, figures: Mapping[str, Figure], measured: Measured
) -> AdapterReport:
    """Return the verdict with everything that it stands on."""
    results = judged(kept.rules, figures)
    return AdapterReport(
        passed=passed(results),
        rules=results,
        live=live,
        measures=_measures(figures),
        document=_document(candidate, live, kept, measured)
        | {
            "passed": passed(results),
            "results": list(map(asdict, results)),
            "figures": list(map(_shown, figures.values())),
        },
    )


def _measures(figures: Mapping[str, Figure]) -> dict[str, float]:
    own = {measure: figure.candidate.value for measure, figure in figures.items()}
    live = {f"live {measure}": figure.live.value for measure, figure in figures.items() if figure.live}
    return own | live


def _document(candidate: Candidate, live: str, kept: KeptRules, measured: Measured) -> dict[str, Any]:
    counts: defaultdict[str, int] = defaultdict(int)
    for item in measured.items:
        counts[item.section] += 1
    return {
        "format": FORMAT,
        "candidate": candidate.digest,
        "live": live,
        "alias": candidate.alias,
        "base": candidate.base,
        "dataset": candidate.dataset,
        "golden_set": candidate.golden_set,
        "rules": {"version": kept.version, **kept.rules.model_dump(mode="json")},
        "sections": {
            section: {"available": available, "measured": counts[section]}
            for section, available in measured.available.items()
        },
        "skipped": dict(measured.skipped),
        "seconds": round(measured.seconds, 3),
        "worst": _worst(measured.items),
    }


def _shown(figure: Figure) -> dict[str, Any]:
    return asdict(figure)


def _worst(items: Sequence[Item]) -> list[dict[str, Any]]:
    """Return, of each section, the items whose first measure fell most."""
    fallen: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for item in items:
        fall = _fall(item)
        if fall and fall["candidate"] < fall["live"]:
            fallen[item.section].append(fall)
    ranked = (sorted(each, key=lambda one: one["candidate"] - one["live"])[:WORST] for each in fallen.values())
    return [fall for each in ranked for fall in each]


def _fall(item: Item) -> dict[str, Any] | None:
    """Return the item's first measure of which both say something."""
    for measure, part in item.candidate.items():
        live = item.live.get(measure, (0.0, 0.0))
        if measure in RATIOS or not (part[1] and live[1]):
            continue
        return {
            "section": item.section,
            "id": item.id,
            "measure": measure,
            "live": _value(live),
            "candidate": _value(part),
        }
    return None


def _value(part: Part) -> float:
    return part[0] / part[1]
