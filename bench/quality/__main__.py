"""Measures quality: `python -m bench.quality [SETS…] [--parts …] [--home H] [--results R]`.

What the results have of this very code is not measured again.
"""

import argparse
import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop
from rich.console import Console
from rich.markdown import Markdown

from bench.quality import search, speed
from bench.quality.indexed import Indexed, indexed
from bench.quality.results import REPORT, Figure, Results, code_digest
from bench.quality.sets import KNOWN, KnownSet, documents_of

RESULTS = Path("build/quality")
PARTS = ("search", "speed")
# Of the parts that are about one set each.
SPEED_SETS = ("scifact",)

console = Console(width=150)


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure, and where."""

    sets: Sequence[KnownSet]
    parts: Sequence[str]
    home: Path
    results: Results


async def main(options: Options) -> None:
    for known in options.sets:
        if not known.is_here:
            console.print(f"{known.name}: skipped, TANDEM_BENCH_DATA names no folder that holds it")
            continue
        await _on_an_index(options, known)
    report = options.results.folder / REPORT
    if report.is_file():
        console.print(Markdown(report.read_text()))


async def _on_an_index(options: Options, known: KnownSet) -> None:
    """Measure what needs the set's documents, whole, and nothing else."""
    due = [part for part in _parts_of(known) if part in options.parts and not options.results.has(part, known.name)]
    if not due:
        return
    console.print(f"{known.name}: {', '.join(due)}")
    async with _indexed(options, known) as platform:
        for part in due:
            figures = await (search.measure if part == "search" else speed.measure)(known, platform)
            _keep(options, part, known.name, figures)


@contextlib.asynccontextmanager
async def _indexed(options: Options, known: KnownSet) -> AsyncIterator[Indexed]:
    texts = await asyncio.to_thread(documents_of, known)
    async with indexed(options.home / known.name, texts, options.results.code) as platform:
        console.print(f"{known.name}: {len(texts)} documents are {platform.chunks} chunks")
        yield platform


def _parts_of(known: KnownSet) -> list[str]:
    return ["search", *(["speed"] if known.name in SPEED_SETS else [])]


def _keep(options: Options, part: str, name: str, figures: Sequence[Figure]) -> None:
    options.results.keep(part, name, figures)
    for each in figures:
        console.print(f"  {each.configuration}, {each.measure}: {each.value:.4g}")


def _options(stack: contextlib.ExitStack) -> Options:
    parser = argparse.ArgumentParser(prog="python -m bench.quality", description=__doc__)
    parser.add_argument("sets", nargs="*", choices=[*KNOWN, []], metavar="SET", help=f"of {', '.join(KNOWN)}")
    parser.add_argument("--parts", default=",".join(PARTS), help="which, with commas; all by default")
    parser.add_argument("--home", type=Path, help="kept between runs; else a folder that goes at the end")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    parts = given.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    home = given.home or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tandem-quality-")))
    sets = [KNOWN[name] for name in given.sets or KNOWN]
    return Options(sets, parts, home.resolve(), Results(given.results, code_digest()))


if __name__ == "__main__":
    with contextlib.ExitStack() as stack:
        uvloop.run(main(_options(stack)))
