"""One platform with its real engine, for every test that asks it something."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tandem_command import Tandem, home_in

WARRANTY = """# Warranty

## How long

The Tern kettle has a warranty of 9 years. The Wren toaster has a warranty of 4 years.

## Claims

Send an email to claims@example.com with a photograph of the serial plate. Repairs take 8 working days.
"""
PRICES = "product,price in euros\nTern kettle,79\nWren toaster,54\n"
DELIVERY = """<html><head><title>Livraison</title></head><body><h1>Livraison</h1>
<p>La livraison en Belgique coûte 6,90 euros et prend trois jours ouvrés.</p></body></html>"""


@pytest.fixture(scope="session")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documents")
    (folder / "warranty.md").write_text(WARRANTY)
    (folder / "prices.csv").write_text(PRICES)
    (folder / "livraison.html").write_text(DELIVERY)
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 and no more")
    return folder


@pytest.fixture(scope="session")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the platform writes its spans."""
    return tmp_path_factory.mktemp("traces")


@pytest.fixture(scope="session")
def tandem(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config, documents: Path, traces: Path
) -> Iterator[Tandem]:
    """A platform that knows the documents; the converted model is kept from one test run to the next."""
    cache = pytestconfig.cache.mkdir("tandem-models")
    with home_in(tmp_path_factory.mktemp("platform"), seconds=550) as command:
        command.up("--cache", str(cache), TANDEM_TRACES=f"file:{traces}", GENERATE_MAX_TOKENS="48")
        command.json("source", "add", "files", str(documents), "--name", "house", "--readers", "everyone")
        command.json("wait", "--timeout", "120")
        yield command


@pytest.fixture(scope="session")
def memory_platform(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Tandem]:
    """A platform that answers at once and without sense, for tests of who may see what; each makes its own tenants."""
    cache = pytestconfig.cache.mkdir("tandem-models")
    with home_in(tmp_path_factory.mktemp("memory"), seconds=200) as command:
        command.up("--engine", "memory", "--cache", str(cache))
        yield command
