"""Every `tandem …` that the documents name is there."""

import itertools
import re
from pathlib import Path

import pytest

from services.cli.app import GROUPS, VERBS

ROOT = Path(__file__).parents[3]
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").glob("*.md")),
]

# In a line of a block, or in a span of code; a span may offer several verbs: `tandem index build|show`.
_BLOCK = re.compile(r"^```(?:sh|console|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINE = re.compile(r"^(?:\$ )?tandem ([a-z][^#\n]*)", re.MULTILINE)
_SPAN = re.compile(r"`tandem ([a-z][^`]*)`")


def commands_of(page):
    text = page.read_text()
    lines = [line for block in _BLOCK.findall(text) for line in _LINE.findall(block)]
    return [" ".join(command.split()) for command in (*lines, *_SPAN.findall(text))]


def alternatives(command):
    words = list(itertools.takewhile(re.compile(r"[a-z][a-z-]*(?:\|[a-z-]+)*,?").fullmatch, command.split()))
    paths = [()]
    for word in words[:3]:
        paths = [(*path, one) for path in paths for one in word.rstrip(",").split("|")]
    return paths


def is_there(path):
    if path[0] in VERBS:
        return True
    groups = [group for group in (" ".join(path[:2]), path[0]) if group in GROUPS]
    return any(len(path) == len(group.split()) or path[len(group.split())] in GROUPS[group] for group in groups)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_is_there(page):
    assert [path for command in commands_of(page) for path in alternatives(command) if not is_there(path)] == []


def test_commands_are_found_in_the_pages():
    assert sum(len(commands_of(page)) for page in PAGES) > 50


@pytest.mark.parametrize("command", ["tune nothing", "nothing", "index build|nothing"])
def test_what_is_not_there_is_noticed(command):
    assert not all(map(is_there, alternatives(command)))
