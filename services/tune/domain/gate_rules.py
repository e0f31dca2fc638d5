"""The gate's rules: what is measured, on how much, and what a candidate must reach; a tenant's own file of TOML."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from services.common.errors import FailedPrecondition, InvalidArgument, NotFound

MAX_CONTENT_BYTES = 64 * 1024
MAX_RULES = 100

# What is measured on rows held out of the candidate's data set.
PREFERENCE_MARGIN = "preference margin"
PREFERENCE_ACCURACY = "preference accuracy"
HELD_OUT_LIKELIHOOD = "held-out likelihood"
# Answers are measured alike on rows held out that have right answers, and on the golden set.
HELD_OUT, GOLDEN = "held-out", "golden"
ANSWER_MEASURES = (
    "exact match",
    "F1",
    "contains",
    "citation precision",
    "citation recall",
    "groundedness",
    "abstention precision",
    "abstention recall",
    "abstention F1",
)
# What is measured on the sets that are shipped.
GENERAL_ACCURACY, GENERAL_MARGIN, GENERAL_LIKELIHOOD = "general accuracy", "general margin", "general likelihood"
SAFETY, SAFETY_PREFERENCE = "safety", "safety preference"
# The candidate's time beside the live one's: 1 is as long.
FIRST_TOKEN_RATIO, TOKEN_RATIO = "first token ratio", "token ratio"
RATIOS = frozenset({FIRST_TOKEN_RATIO, TOKEN_RATIO})
MEASURES = frozenset(
    {
        PREFERENCE_MARGIN,
        PREFERENCE_ACCURACY,
        HELD_OUT_LIKELIHOOD,
        GENERAL_ACCURACY,
        GENERAL_MARGIN,
        GENERAL_LIKELIHOOD,
        SAFETY,
        SAFETY_PREFERENCE,
        *RATIOS,
        *(f"{kind} {measure}" for kind in (HELD_OUT, GOLDEN) for measure in ANSWER_MEASURES),
    }
)


class InvalidRules(InvalidArgument):
    """The file is not TOML, or says what no rule can."""

    reason = "INVALID_GATE_RULES"


class RulesNotFound(NotFound):
    """The tenant has no such version of its rules."""

    reason = "GATE_RULES_NOT_FOUND"


class RulesChanged(FailedPrecondition):
    """Somebody has put other rules meanwhile."""

    reason = "GATE_RULES_CHANGED"


class Kind(StrEnum):
    """What a rule asks of a measure, in which more is always better but for the ratios."""

    # The difference to what is live is above the bound.
    BETTER = "better"
    # What is live is ahead by no more than the bound.
    NOT_WORSE = "not_worse"
    # The candidate's own figure, whatever is live.
    AT_LEAST = "at_least"
    AT_MOST = "at_most"


class On(StrEnum):
    """What is held against the bound: the end of the 95% interval that is worse for the candidate, or the figure."""

    INTERVAL = "interval"
    VALUE = "value"


class Missing(StrEnum):
    """What becomes of a rule whose measure was not measured, or on too few items."""

    SKIP = "skip"
    FAIL = "fail"
    # Where there is nothing of the kind it is skipped; where there is too little to tell, it fails.
    FAIL_IF_FEW = "fail_if_few"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)


class Rule(_Model):
    """One rule; `bound` is in the measure's own unit.

    Items of one rater or of one conversation are one group: they say together what one says.
    """

    measure: str
    kind: Kind
    bound: float = 0.0
    on: On = On.INTERVAL
    required: bool = True
    least_items: Annotated[int, Field(ge=1, le=10_000)] = 20
    least_groups: Annotated[int, Field(ge=1, le=10_000)] = 5
    missing: Missing = Missing.SKIP

    @model_validator(mode="after")
    def _checked(self) -> "Rule":
        if self.measure not in MEASURES:
            raise ValueError(f"there is no measure of this name; there are {', '.join(sorted(MEASURES))}")
        if self.measure in RATIOS and self.kind is not Kind.AT_MOST:
            raise ValueError("a ratio is held by at_most")
        if self.kind in {Kind.BETTER, Kind.NOT_WORSE} and self.bound < 0:
            raise ValueError("how much better or worse is 0 or more")
        return self


class Items(_Model):
    """How many items are measured at most; what there are more of is drawn by the hash of their ids."""

    held_out: Annotated[int, Field(ge=0, le=2_000)] = 100
    golden: Annotated[int, Field(ge=0, le=2_000)] = 60
    general: Annotated[int, Field(ge=0, le=1_000)] = 100
    safety: Annotated[int, Field(ge=0, le=1_000)] = 100
    latency: Annotated[int, Field(ge=0, le=100)] = 8


class Rules(_Model):
    """A tenant's rules; at least one of `proof` must have been measured, on as many items as its rule asks."""

    items: Items = Items()
    # Of the weight of all ratings held out, what one rater's may have.
    rater_share: Annotated[float, Field(gt=0, le=1)] = 0.1
    # Passages that a golden question is answered from.
    passages: Annotated[int, Field(ge=1, le=20)] = 5
    answer_tokens: Annotated[int, Field(ge=8, le=768)] = 96
    proof: tuple[str, ...] = (PREFERENCE_MARGIN, HELD_OUT_LIKELIHOOD, f"{HELD_OUT} F1", f"{GOLDEN} F1")
    rules: Annotated[tuple[Rule, ...], Field(max_length=MAX_RULES)]

    @model_validator(mode="after")
    def _checked(self) -> "Rules":
        if unknown := set(self.proof) - {rule.measure for rule in self.rules}:
            raise ValueError(f"what counts as proof has no rule: {', '.join(sorted(unknown))}")
        if not any(rule.required for rule in self.rules):
            raise ValueError("no rule is required, so that everything would pass")
        return self


@dataclass(frozen=True, slots=True)
class KeptRules:
    """A version of a tenant's rules; version 0 is the deployment's own, which nobody has put."""

    version: int
    content: str
    subject: str = ""
    put_at: datetime | None = None

    @property
    def rules(self) -> Rules:
        """What the content says."""
        return rules_of(self.content.encode())


def rules_of(content: bytes) -> Rules:
    """Return the rules in a file of TOML.

    Raises:
        InvalidRules: there are none in it, and where it is wrong.
    """
    if len(content) > MAX_CONTENT_BYTES:
        raise InvalidRules(f"the rules are longer than {MAX_CONTENT_BYTES // 1024} KiB")
    try:
        read = tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        raise InvalidRules("the rules are not UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise InvalidRules(f"the rules are no TOML: {error}"[:300]) from error
    try:
        return Rules.model_validate(read)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise InvalidRules(f"{_place(first['loc'])}: {first['msg']}"[:500]) from error


def _place(path: Sequence[Any]) -> str:
    return ".".join(map(str, path)) or "the rules"
