"""Measures quality: `python -m bench.quality [SETS…] [--parts …] [--home H] [--results R]`.

What the results have of this very code is not measured again.
"""

import argparse
import contextlib
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import uvloop
from rich.console import Console
from rich.markdown import Markdown

from bench.quality import abstention, answers, chunking, reranker, search, speed
from bench.quality.indexed import Indexed, Place, indexed
from bench.quality.results import REPORT, Figure, Results, code_digest
from bench.quality.sets import EXAMPLES, KNOWN, Document, KnownSet, documents_of

RESULTS = Path("build/quality")
VLLM = "vllm"

console = Console(width=150)

Measure = Callable[[KnownSet, Indexed], Awaitable[list[Figure]]]


@dataclass(frozen=True, slots=True)
class Bench:
    """Opens platforms on sets, in homes under one folder; all that one run needs."""

    home: Path
    code: str

    async def on(self, known: KnownSet, measure: Measure, engine: str = "memory") -> list[Figure]:
        """Measure on a platform that has the set's documents and nothing else."""
        return await self._at(self._place(known.name, engine), known, documents_of(known), measure)

    async def chunking(self, known: KnownSet) -> list[Figure]:
        """Measure one platform for each way of cutting."""
        measured = {}
        for name, strategy in chunking.STRATEGIES.items():
            home = f"{known.name}-{strategy}" if strategy else known.name
            place = Place(self.home / home, self.code, strategy=strategy)
            async with indexed(place, documents_of(known)) as platform:
                measured[name] = (await chunking.parts_of(known, platform), platform.chunks)
        return chunking.figures_of(measured)

    async def abstention(self, known: KnownSet) -> list[Figure]:
        """Measure the evidence first, with no model, then whole answers."""
        documents = abstention.kept(documents_of(known))
        refusing = Place(self.home / f"{known.name}-half", self.code, environment=abstention.ALWAYS)
        answering = Place(refusing.home, self.code, VLLM)
        figures = await self._at(refusing, known, documents, abstention.measure_evidence)
        return figures + await self._at(answering, known, documents, abstention.measure_answers)

    def _place(self, name: str, engine: str) -> Place:
        return Place(self.home / name, self.code, engine)

    async def _at(self, place: Place, known: KnownSet, documents: Sequence[Document], measure: Measure) -> list[Figure]:
        async with indexed(place, documents) as platform:
            console.print(f"  {len(documents)} documents are {platform.chunks} chunks")
            return await measure(known, platform)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the benchmark: the sets that it is about, and how one is measured."""

    sets: Sequence[KnownSet]
    measure: Callable[[Bench, KnownSet], Awaitable[list[Figure]]]


def _on(measure: Measure, engine: str = "memory") -> Callable[[Bench, KnownSet], Awaitable[list[Figure]]]:
    return lambda bench, known: bench.on(known, measure, engine)


SCIFACT, FEEDBACKQA, XQUAD = KNOWN["scifact"], KNOWN["feedbackqa_dev"], KNOWN["xquad_en"]
PARTS = {
    "search": Part(tuple(KNOWN.values()), _on(search.measure)),
    "speed": Part((SCIFACT,), _on(speed.measure)),
    "reranker": Part((SCIFACT,), _on(reranker.measure)),
    "chunking": Part((EXAMPLES, FEEDBACKQA, SCIFACT), Bench.chunking),
    "answers": Part((XQUAD,), _on(answers.measure, VLLM)),
    "abstention": Part((XQUAD,), Bench.abstention),
}


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure, and where it is kept; no sets are all."""

    parts: Sequence[str]
    sets: Sequence[str]
    bench: Bench
    results: Results


async def main(options: Options) -> int:
    """Measure what is due; return how many parts failed: one that does keeps none of the others from it."""
    failed = 0
    for name, known in _due(options):
        console.print(f"{name}, {known.name}")
        try:
            options.results.keep(name, known.name, await PARTS[name].measure(options.bench, known))
        except Exception:  # noqa: BLE001 - whatever it is, it is shown, and hours of work go on
            failed += 1
            console.print_exception()
    report = options.results.folder / REPORT
    if report.is_file():
        console.print(Markdown(report.read_text()))
    return failed


def _due(options: Options) -> Iterator[tuple[str, KnownSet]]:
    for name in options.parts:
        for known in PARTS[name].sets:
            if options.sets and known.name not in options.sets:
                continue
            if not known.is_here:
                console.print(f"{name}, {known.name}: skipped, TANDEM_BENCH_DATA names no folder that holds it")
            elif options.results.has(name, known.name):
                console.print(f"{name}, {known.name}: measured before")
            else:
                yield name, known


def _options(stack: contextlib.ExitStack) -> Options:
    parser = argparse.ArgumentParser(prog="python -m bench.quality", description=__doc__)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(KNOWN)} and examples; all by default")
    parser.add_argument("--parts", default=",".join(PARTS), help="which, with commas; all by default")
    parser.add_argument("--home", type=Path, help="kept between runs; else a folder that goes at the end")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    parts = given.parts.split(",")
    for unknown in (set(parts) - set(PARTS)) | (set(given.sets) - set(KNOWN) - {EXAMPLES.name}):
        parser.error(f"there is no {unknown!r}")
    home = given.home or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tandem-quality-")))
    code = code_digest()
    return Options(parts, given.sets, Bench(home.resolve(), code), Results(given.results, code))


def _end(*_: object) -> NoReturn:
    # As after Ctrl-C, the platform is stopped on the way out.
    raise SystemExit(1)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    with contextlib.ExitStack() as stack:
        failures = uvloop.run(main(_options(stack)))
    sys.exit(failures)
