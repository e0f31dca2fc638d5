"""The worked example of docs/compare.md: a set of TANDEM_BENCH_DATA, the default models, and a given adapter.

`python -m bench.compare --adapter FOLDER` starts a platform of its own, pushes the set's documents, loads the
adapter, runs `tandem compare`, and prints what stands in the document.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.platform import tandem
from bench.quality.indexed import Place, indexed
from bench.quality.sets import EXAMPLES, KNOWN, KnownSet, documents_of, questions_of, spread
from services.cli.comparison.result import COST, DECIMALS
from services.common.evaluation.questions import jsonl_of

ADAPTER = "tuned"
SECONDS = 6 * 3600.0


async def main(arguments: argparse.Namespace) -> None:
    known: KnownSet = (KNOWN | {EXAMPLES.name: EXAMPLES})[arguments.set]
    folder = Path(arguments.out)
    folder.mkdir(parents=True, exist_ok=True)
    asked = folder / f"{known.name}.jsonl"
    asked.write_bytes(b"".join(map(jsonl_of, spread(questions_of(known), arguments.questions).questions)))
    place = Place(folder / "home", f"compare {known.name}", arguments.engine)
    async with indexed(place, documents_of(known)) as platform:
        home = platform.platform.home
        await asyncio.to_thread(tandem, home, "adapters", "load", ADAPTER, str(arguments.adapter.resolve()))
        found = await asyncio.to_thread(tandem, home, *_compared(arguments, asked, folder), seconds=SECONDS)
    sys.stdout.write("\n".join(lines_of(found)) + "\n")


def _compared(arguments: argparse.Namespace, asked: Path, folder: Path) -> tuple[str, ...]:
    written = ("--out", str(folder / "compare.json"), "--html", str(folder / "compare.html"))
    terms = ("--max-tokens", str(arguments.max_tokens), "--language", arguments.language, "--timeout", "600")
    price = ("--price-hour", str(arguments.price_hour))
    own = ("--questions", str(asked), "--adapter", ADAPTER, "--duplicates", "keep", "--freshness")
    return ("compare", *own, *terms, *price, *written)


def lines_of(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield a comparison as Markdown: a row a measure, then the verdict."""
    ways = found["ways"]
    yield f"| {found['compared']} questions of {found['set']} | " + " | ".join(way["name"] for way in ways) + " |"
    yield "|---" * (len(ways) + 1) + "|"
    fullest = sorted(ways, key=lambda way: len(way["figures"]), reverse=True)
    for measure in dict.fromkeys(measure for way in fullest for measure in way["figures"]):
        yield f"| {measure} | " + " | ".join(_cell(way["figures"].get(measure), measure) for way in ways) + " |"
    yield "| p50, p95, s | " + " | ".join(map(_times, ways)) + " |"
    yield ""
    yield f"> {found['verdict']['paragraph']}"


def _times(way: Mapping[str, Any]) -> str:
    return f"{way['seconds']['p50']:.2f}, {way['seconds']['p95']:.2f}"


def _cell(figure: Mapping[str, float] | None, measure: str) -> str:
    if figure is None:
        return "-"
    form = ".3g" if measure == COST else f".{DECIMALS.get(measure, 3)}f"
    return f"{figure['value']:{form}} [{figure['low']:{form}}, {figure['high']:{form}}]"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument(
        "--adapter", type=Path, required=True, help="a folder with a LoRA adapter of the engine's model"
    )
    parser.add_argument("--set", default="xquad_en", choices=[EXAMPLES.name, *KNOWN], help="what is asked")
    parser.add_argument("--questions", type=int, default=120, help="how many, taken at equal distances")
    parser.add_argument("--max-tokens", type=int, default=48, help="length of an answer at most")
    parser.add_argument("--language", default="en", help="whose articles do not count")
    parser.add_argument("--price-hour", type=float, default=0.1, help="what the machine costs an hour")
    parser.add_argument("--engine", default="vllm", choices=["vllm", "memory"], help="memory answers without sense")
    parser.add_argument("--out", default="build/compare", help="where the platform and the results are kept")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(_arguments()))
