"""Holds figures against rules."""

from collections.abc import Mapping, Sequence

from services.tune.domain.adapters import RuleResult
from services.tune.domain.gate_rules import Kind, Missing, On, Rule, Rules
from services.tune.gate.measuring import Figure

PROOF = "proof"
# What sums of fractions are off by.
_ROUNDING = 1e-9


def judged(rules: Rules, figures: Mapping[str, Figure]) -> tuple[RuleResult, ...]:
    """Return what became of every rule, in their order, and last whether there is a proof at all."""
    found = [_result(rule, figures.get(rule.measure)) for rule in rules.rules]
    return (*found, *_proof(rules, figures))


def passed(results: Sequence[RuleResult]) -> bool:
    """Return whether every rule that is required holds."""
    return all(result.passed for result in results if result.required)


def _result(rule: Rule, figure: Figure | None) -> RuleResult:
    name = f"{rule.measure} {rule.kind.replace('_', ' ')}"
    if reason := _unmeasured(rule, figure):
        left_out = rule.missing is Missing.SKIP or (rule.missing is Missing.FAIL_IF_FEW and figure is None)
        return RuleResult(name, left_out, rule.required, 0.0, rule.bound, 0.0, 0.0, f"not measured: {reason}")
    value, low, high = _held(rule, figure)
    worse = low if rule.kind is not Kind.AT_MOST else high
    at = worse if rule.on is On.INTERVAL else value
    detail = f"{figure.items if figure else 0} items, held on the {_told(rule)}"
    return RuleResult(name, _holds(rule, at), rule.required, value, rule.bound, low, high, detail)


def _told(rule: Rule) -> str:
    if rule.on is On.VALUE:
        return "value"
    return "upper end of the interval" if rule.kind is Kind.AT_MOST else "lower end of the interval"


def _unmeasured(rule: Rule, figure: Figure | None) -> str:
    """Return why a rule cannot be held against a figure, or ""."""
    if figure is None:
        return "there is nothing to measure it on"
    if figure.items < rule.least_items:
        return f"{figure.items} items where the rule asks for {rule.least_items}"
    if figure.groups < rule.least_groups:
        return f"raters, or conversations, are {figure.groups} where the rule asks for {rule.least_groups}"
    if rule.kind in {Kind.BETTER, Kind.NOT_WORSE} and figure.difference is None:
        return "what is live says nothing of it"
    return ""


def _held(rule: Rule, figure: Figure | None) -> tuple[float, float, float]:
    """Return the value that a rule speaks of, with its interval."""
    if figure is None:
        return 0.0, 0.0, 0.0
    against = figure.difference if rule.kind in {Kind.BETTER, Kind.NOT_WORSE} else None
    held = against or figure.candidate
    return held.value, held.low, held.high


def _holds(rule: Rule, value: float) -> bool:
    match rule.kind:
        case Kind.BETTER:
            return value > rule.bound + _ROUNDING
        case Kind.NOT_WORSE:
            return value >= -rule.bound - _ROUNDING
        case Kind.AT_LEAST:
            return value >= rule.bound - _ROUNDING
        case Kind.AT_MOST:
            return value <= rule.bound + _ROUNDING


def _proof(rules: Rules, figures: Mapping[str, Figure]) -> tuple[RuleResult, ...]:
    if not rules.proof:
        return ()
    held = [rule for rule in rules.rules if rule.measure in rules.proof]
    shown = dict.fromkeys(rule.measure for rule in held if not _unmeasured(rule, figures.get(rule.measure)))
    told = f"measured: {', '.join(shown)}" if shown else f"none of {', '.join(rules.proof)} was measured"
    return (RuleResult(PROOF, bool(shown), True, len(shown), 1.0, len(shown), len(shown), told),)  # noqa: FBT003
