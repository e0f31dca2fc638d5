"""Adapters through the command: imported, promoted over the gate, tried, and what the audit log keeps of it."""

from pathlib import Path

import pytest

from tests.tandem_command import Tandem
from tests.tiny_adapter import write_adapter

pytestmark = pytest.mark.timeout(400)

REASON = "the gate has no data yet"


def test_an_adapter_is_promoted_over_the_gate_by_an_admin_and_the_audit_log_says_so(
    memory_platform: Tandem, tmp_path: Path
):
    tandem = memory_platform
    made = [
        tandem.json("adapters", "import", str(write_adapter(tmp_path / name, seed, base_model_name_or_path="memory")))
        for name, seed in (("one", 1), ("two", 2))
    ]
    first, second = (each["adapter"]["digest"] for each in made)
    beginning = first.removeprefix("sha256:")[:10]

    assert tandem.error("adapters", "promote", "support", beginning)["reason"] == "GATE_FAILED"
    assert tandem.error("adapters", "promote", "support", "none")["reason"] == "ADAPTER_NOT_FOUND"
    override = ("--override", "--reason", REASON)
    alias = tandem.json("adapters", "promote", "support", beginning, *override)["alias"]
    assert alias["digest"] == first

    acts = tandem.json("audit", "list")["events"]
    [act] = [each for each in acts if each["rpc"].endswith("/PromoteAdapter") and each["code"] == "OK"]
    assert (act["request"]["override"], act["request"]["reason"]) == (True, REASON)
    assert (act["request"]["alias"], act["request"]["digest"]) == ("support", first)
    assert [each["code"] for each in acts if each["rpc"].endswith("/PromoteAdapter")].count("FAILED_PRECONDITION") == 1

    tried = tandem.json("adapters", "canary", "support", second, "--share", "0.2", *override)["alias"]
    assert (tried["digest"], tried["canary"]["digest"], tried["canary"]["share"]) == (first, second, 0.2)
    assert tandem.error("adapters", "rollback", "support")["reason"] == "CANARY_RUNNING"
    assert tandem.error("adapters", "delete", second)["reason"] == "ADAPTER_IN_USE"
    shown = (
        ("list",),
        ("show", first),
        ("diff", first, second),
        ("aliases",),
        ("history", "support"),
        ("canary", "support"),
        ("loaded",),
    )
    for command in shown:
        done = tandem.run("adapters", *command)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()
    ended = tandem.json("adapters", "canary", "support", "--end", "stop")
    assert ended["last_canary"]["state"] == "stopped"
    assert tandem.json("adapters", "rollback", "support")["alias"]["digest"] == ""
    assert tandem.json("adapters", "promote", "support", "base")["alias"]["digest"] == ""
    tandem.json("adapters", "delete", "--alias", "support")
    assert tandem.json("adapters", "delete", second)["deleted"] == second
    assert [each["digest"] for each in tandem.json("adapters", "list")["adapters"]] == [first]
