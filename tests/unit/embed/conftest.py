"""What the unit tests of `embed` share."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def make():
    """The module that makes small files."""
    spec = importlib.util.spec_from_file_location("documents", Path(__file__).with_name("documents.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
