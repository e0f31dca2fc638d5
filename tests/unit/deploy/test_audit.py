"""A vulnerability that is known fails the audit; only data that cannot be reached lets it go on, and is said."""

import json

import pytest

from deploy import audit

SOUND = {"name": "sound", "version": "1.0", "vulns": []}
HURT = {"name": "hurt", "version": "2.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"], "aliases": ["CVE-1"]}]}
OURSELVES = {"name": "tandem", "skip_reason": "distribution marked as editable"}
UNKNOWN = {"name": "unknown", "skip_reason": "Dependency not found on PyPI and could not be audited: unknown (3.0)"}


def report(*dependencies) -> str:
    return json.dumps({"dependencies": dependencies, "fixes": []})


def test_a_known_vulnerability_fails_and_is_named():
    status, text = audit.verdict_of(report(SOUND, HURT, UNKNOWN), "Found 1 known vulnerability")
    assert status == 1
    assert text == "hurt 2.0: PYSEC-1, fixed in 2.1"


@pytest.mark.parametrize("name", ["PYSEC-1", "CVE-1"])
def test_one_that_is_ignored_with_a_reason_does_not_fail(monkeypatch, name):
    monkeypatch.setitem(audit.IGNORED, name, "the code that it is in is never called")
    assert audit.verdict_of(report(SOUND, HURT), "")[0] == 0


def test_packages_that_were_looked_up_are_counted():
    assert audit.verdict_of(report(SOUND, UNKNOWN), "") == (0, "pip-audit: no known vulnerability in 1 of 2 packages")


def test_an_index_without_any_advisory_is_told_as_data_that_cannot_be_reached():
    assert audit.verdict_of(report(OURSELVES, UNKNOWN), "No known vulnerabilities found") == (0, audit.UNREACHABLE)


def test_a_failing_connection_is_told_as_data_that_cannot_be_reached():
    assert audit.verdict_of("", "requests.exceptions.ConnectionError: refused") == (0, audit.UNREACHABLE)


def test_any_other_failure_fails():
    assert audit.verdict_of("", "unrecognized arguments: --nothing") == (1, "unrecognized arguments: --nothing")
