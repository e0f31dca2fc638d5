"""Adapters: candidates that a run has trained, how the gate found them, and what is registered."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from services.common.identity import Identity
from services.tune.domain.runs import Lineage


@dataclass(frozen=True, slots=True)
class Candidate:
    """An adapter that is published and not judged yet.

    `digest` is "sha256:HEX"; `dataset` what it learnt from; `golden_set` the name of a kept set of
    questions, or ""; `alias` says against what it is measured, "" for the base model.
    """

    identity: Identity
    run_id: str
    digest: str
    base: str
    dataset: str
    golden_set: str
    alias: str
    folder: Path


@dataclass(frozen=True, slots=True)
class RuleResult:
    """One of the gate's rules: its value, the bound that it is held against, and the 95% interval of the value."""

    name: str
    passed: bool
    required: bool
    value: float
    bound: float
    low: float
    high: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class AdapterReport:
    """How a candidate did against what was live: a digest, or "" for the base model.

    `measures` are figures by name; `document` is all that was measured, as JSON has it.
    """

    passed: bool
    rules: tuple[RuleResult, ...]
    live: str
    measures: Mapping[str, float] = field(default_factory=dict)
    document: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RegisteredAdapter:
    """An adapter with everything that is known of it; it never changes.

    `parent` is the adapter that it began from, "" for the base model; `method` is "sft", "dpo", "kto",
    "grpo", or "import" for what was trained elsewhere, which has no report.
    """

    tenant_id: str
    digest: str
    run_id: str
    base: str
    rank: int
    method: str
    dataset: str
    parent: str
    seed: int
    lineage: Lineage
    owner: str
    created_at: datetime
    report: AdapterReport | None = None
