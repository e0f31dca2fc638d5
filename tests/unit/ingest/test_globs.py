"""Which files belong to a source."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.errors import InvalidSourceConfig
from services.ingest.globs import Globs


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        ("a.md", True),
        ("A.MD", True),
        ("deep/er/a.pdf", True),
        ("a.exe", False),
        ("a", False),
        (".a.md", False),
        (".git/a.md", False),
        ("x/.cache/y/a.md", False),
        ("a.md~", False),
    ],
)
def test_without_globs_every_supported_format_is_taken(path, taken):
    assert Globs((), ()).takes(path) is taken


@pytest.mark.parametrize(
    ("include", "path", "taken"),
    [
        ("*.rst", "deep/a.rst", True),
        ("*.rst", "a.md", False),
        ("/*.md", "a.md", True),
        ("/*.md", "x/a.md", False),
        ("docs/**/*.md", "docs/a.md", True),
        ("docs/**/*.md", "docs/x/y/a.md", True),
        ("docs/**/*.md", "other/docs/a.md", False),
        ("**/faq/*.txt", "x/y/faq/a.txt", True),
        ("guides", "guides/x/a.bin", True),
        ("**", ".hidden", False),
    ],
)
def test_an_include_is_relative_to_the_folder(include, path, taken):
    assert Globs((include,), ()).takes(path) is taken


@pytest.mark.parametrize("path", ["drafts/a.md", "x/drafts/y/a.md", "x.draft.md"])
def test_an_exclude_wins_over_an_include(path):
    assert not Globs(("*.md",), ("drafts/", "*.draft.md")).takes(path)


def test_excluded_and_hidden_folders_are_not_entered():
    globs = Globs((), ("node_modules", "build/**"))
    assert not globs.enters("x/node_modules")
    assert not globs.enters(".git")
    assert globs.enters("x")


@pytest.mark.parametrize("globs", [("!",), ("",), (" ",), ("a\\",), ("x" * 201,), ("a",) * 101, ("a\0",)])
def test_a_glob_that_cannot_be_understood_is_refused(globs):
    with pytest.raises(InvalidSourceConfig):
        Globs((), globs)


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_glob_is_refused_or_works(glob, path):
    try:
        globs = Globs((glob,), ())
    except InvalidSourceConfig:
        return
    assert globs.takes(path) in {True, False}
