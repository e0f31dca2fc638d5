"""The command: its verbs, its options, its exit codes."""

import json

import pytest
from typer.testing import CliRunner

from services.cli.__main__ import run_for_programs
from services.cli.app import GROUPS, VERBS, build_app
from services.cli.plan import Plan
from services.cli.session import Program
from services.cli.verbs.sources import name_of

EVERY_VERB = [
    *([name] for name in VERBS),
    *((*group.split(), name) for group, verbs in GROUPS.items() for name in verbs),
]


def no_plan(_home, _choices) -> Plan:
    raise AssertionError("nothing is to be started")


@pytest.fixture
def tandem(tmp_path):
    app = build_app(Program(("false",), no_plan, {}))
    runner = CliRunner(env={"TANDEM_HOME": str(tmp_path / "home"), "COLUMNS": "200", "NO_COLOR": "1"})
    return lambda *arguments: runner.invoke(app, list(arguments))


@pytest.mark.parametrize("verb", EVERY_VERB, ids=" ".join)
def test_every_verb_has_help_and_json(tandem, verb):
    shown = tandem(*verb, "--help")
    assert shown.exit_code == 0
    for option in ("--json", "--home", "--address", "--api-key"):
        assert option in shown.output


def test_without_a_platform_the_command_says_how_to_start_one(tandem):
    for verb in (("status",), ("search", "x"), ("ask", "x"), ("source", "list")):
        for_people = tandem(*verb)
        assert for_people.exit_code == 1
        assert "tandem up" in for_people.stderr
        assert "Traceback" not in for_people.output
        for_programs = tandem(*verb, "--json")
        assert for_programs.exit_code == 1
        assert json.loads(for_programs.stdout)["error"]["reason"] in {"NOT_RUNNING", "NO_API_KEY"}


def test_a_gateway_that_is_not_there_is_said_so(tandem):
    answer = tandem("search", "x", "--address", "127.0.0.1:1", "--api-key", "k", "--json")
    assert answer.exit_code == 1
    assert json.loads(answer.stdout)["error"]["reason"] == "NOT_REACHABLE"


@pytest.mark.parametrize("arguments", [("rate", "id", "sideways"), ("search",), ("up", "--port-base", "1"), ("dance",)])
def test_wrong_usage_ends_with_2(tandem, arguments):
    assert tandem(*arguments).exit_code == 2


@pytest.mark.parametrize("arguments", [("source", "add", "notion", "x"), ("rate", "id", "sideways"), ("search",)])
def test_wrong_usage_is_told_to_programs_as_json(capsys, arguments):
    app = build_app(Program(("false",), no_plan, {}))
    assert run_for_programs(app, [*arguments, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["reason"] == "USAGE"


def test_down_without_a_platform_is_no_error(tandem):
    done = tandem("down", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"stopped": False, "left_processes": 0})


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/data/Our Wiki", "Our-Wiki"),
        ("/data/crm.v2", "crm.v2"),
        ("/", "files"),
        ("/données", "donn-es"),
        ("/日本", "files"),
    ],
)
def test_a_source_is_named_after_its_folder(tmp_path, path, name):
    assert name_of(type(tmp_path)(path)) == name
