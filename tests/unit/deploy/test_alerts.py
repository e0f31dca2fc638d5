"""Every alert can be read, names only metrics that the code has, and says what to do."""

import ast
import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

ROOT = Path(__file__).parents[3]
METRICS = {"Counter", "Gauge", "Histogram", "Summary"}
PARTS = re.compile(r"_(?:total|bucket|count|sum|created)$")
RULES = [
    rule
    for file in sorted((ROOT / "deploy/prometheus").glob("*.yml"))
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
]
every = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])


def defined() -> dict[str, list[str]]:
    """The labels of every metric that the services define, by its name."""
    found = {}
    for file in (ROOT / "services").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in METRICS and node.args:
                name, labels = node.args[0], node.args[2] if len(node.args) > 2 else None
                if isinstance(name, ast.Constant) and str(name.value).startswith("tandem_"):
                    found[PARTS.sub("", str(name.value))] = ast.literal_eval(labels) if labels else []
    return found


def selectors(node: Any) -> set[str]:
    """The metrics that an expression reads."""
    found = set()
    if isinstance(node, promql_parser.MatrixSelector):
        return selectors(node.vector_selector)
    if isinstance(node, promql_parser.VectorSelector):
        return {node.name}
    for name in ("lhs", "rhs", "expr", "args", "param"):
        below = getattr(node, name, None)
        for each in below if isinstance(below, list) else [below] if below is not None else []:
            found |= selectors(each)
    return found


@every
def test_an_alert_reads_metrics_that_there_are(rule):
    metrics = selectors(promql_parser.parse(rule["expr"]))
    assert metrics
    assert {PARTS.sub("", name) for name in metrics} <= defined().keys()


@every
def test_an_alert_says_what_is_wrong_and_what_to_do_with_labels_that_it_has(rule):
    annotations = rule["annotations"]
    assert annotations["summary"]
    assert annotations["description"]
    metrics = [PARTS.sub("", name) for name in selectors(promql_parser.parse(rule["expr"]))]
    labels = {label for name in metrics for label in defined()[name]}
    assert set(re.findall(r"\$labels\.(\w+)", str(annotations))) <= labels
