"""What a build begins with, gathered as who started it, and written into its folder for the process that builds."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import orjson

from services.common.analysis import language_of
from services.common.identity import Identity
from services.tune.datasets.clean.steps import LANGUAGES
from services.tune.datasets.counting import StepReport, Tally
from services.tune.datasets.files import FOUND, GOLDEN, ORDER, RATINGS, ROWS
from services.tune.datasets.mine.rows import Found
from services.tune.datasets.mine.rules import Mined, mine
from services.tune.datasets.parameters import BuildOrder, FromDocuments
from services.tune.datasets.rated import Rated
from services.tune.datasets.sources import KeptQuestions, Passage, RatedInteractions, ReadableDocuments, Told
from services.tune.datasets.store import Datasets

# Of one build: more questions than that are not read by anybody.
MOST_PAIRS = 20_000
PASSAGES_AT_ONCE = 100
SEARCHES_AT_ONCE = 4
FOUND_PASSAGES = 6

T = TypeVar("T")
Tell = Callable[[str, float], Awaitable[None]]
GATHERING = "gathering"


@dataclass(frozen=True, slots=True)
class Machine:
    """What of this deployment a build's process is told: the model whose tokens count, and models that find names."""

    model: str
    cache: Path
    name_models: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Wells:
    """Whom a build asks."""

    ratings: RatedInteractions
    documents: ReadableDocuments
    kept: KeptQuestions
    store: Datasets


class Gatherer:
    """Gathers for one build at a time."""

    def __init__(self, wells: Wells, machine: Machine) -> None:
        self._wells = wells
        self._machine = machine

    async def gather(self, order: BuildOrder, folder: Path, told: Tell) -> None:
        """Write what the order names into `folder`; `told` hears how far it is.

        Raises:
            ServiceError: it cannot be gathered, and why.
        """
        await told(GATHERING, 0.0)
        steps: list[StepReport] = []
        names: set[str] = set()
        if order.ratings:
            steps.append(await self._rated(order, folder))
        if order.documents:
            report, authors = await self._mined(order.identity, order.documents, folder, told)
            steps.append(report)
            names |= authors
        if order.upload:
            content = await self._wells.store.upload(order.identity.tenant_id, order.upload)
            await asyncio.to_thread((folder / ROWS).write_bytes, content)
        golden = await self._wells.kept.golden(order.identity)
        await asyncio.to_thread(_write_lines, folder / GOLDEN, (asdict(each) for each in golden))
        written = orjson.dumps(self._order(order, steps, names))
        await asyncio.to_thread((folder / ORDER).write_bytes, written)

    def _order(self, order: BuildOrder, steps: Iterable[StepReport], names: Iterable[str]) -> dict[str, Any]:
        return {
            "kind": order.kind.value,
            "parameters": asdict(order.parameters),
            "origins": order.origins,
            "unanswerable_every": order.documents.unanswerable_every if order.documents else 0,
            "model": self._machine.model,
            "cache": str(self._machine.cache),
            "name_models": self._machine.name_models,
            "names": sorted(names),
            "steps": [each.as_json() for each in steps],
        }

    async def _rated(self, order: BuildOrder, folder: Path) -> StepReport:
        """Write the ratings whose answers and passages the caller may see, with the passages as they are now."""
        tally, told = Tally("ratings"), []
        async for each in self._wells.ratings.ratings(order.identity, order.rated_after):
            if each.withheld:
                tally.drop("answer is not there or may not be seen", "")
            else:
                told.append(each)
        given = len(told) + sum(tally.dropped.values())
        passages = await self._passages(order.identity, told)
        kept = await asyncio.to_thread(lambda: list(_with_passages(told, passages, tally)))
        await asyncio.to_thread(_write_lines, folder / RATINGS, (asdict(each) for each in kept))
        return tally.report(given, len(kept))

    async def _passages(self, identity: Identity, told: Iterable[Told]) -> Mapping[str, Passage]:
        wanted = sorted({chunk for each in told for chunk in each.chunks})
        found: dict[str, Passage] = {}
        for some in _batches(wanted, PASSAGES_AT_ONCE):
            found |= {each.chunk_id: each for each in await self._wells.documents.passages(identity, some)}
        return found

    async def _mined(
        self, identity: Identity, wanted: FromDocuments, folder: Path, told: Tell
    ) -> tuple[StepReport, set[str]]:
        """Write what documents ask and answer; return what was counted, and the documents' authors."""
        tally, looked_at, mined = Tally("documents"), 0, list[Mined]()
        authors: set[str] = set()
        async for document in self._wells.documents.documents(identity, wanted.sources, wanted.max_documents):
            looked_at += 1
            authors.add(document.author)
            # A long document is a second's work.
            mined += await asyncio.to_thread(mine, document, tally)
            await told(GATHERING, looked_at / (looked_at + wanted.max_documents))
            if len(mined) >= MOST_PAIRS:
                break
        tally.change("questions", len(mined))
        pairs = [pair async for pair in self._searched(identity, mined[:MOST_PAIRS], told)]
        await asyncio.to_thread(_write_lines, folder / FOUND, (each.as_json() for each in pairs))
        return tally.report(looked_at, looked_at), authors - {""}

    async def _searched(self, identity: Identity, mined: list[Mined], told: Tell) -> AsyncIterator[Found]:
        for number, some in enumerate(_batches(mined, SEARCHES_AT_ONCE)):
            questions = (each.pair.question for each in some)
            searches = (self._wells.documents.search(identity, each, FOUND_PASSAGES) for each in questions)
            for each, found in zip(some, await asyncio.gather(*searches), strict=True):
                yield Found.with_passages(each, found)
            await told(GATHERING, 0.5 + number * SEARCHES_AT_ONCE / len(mined) / 2)


def _with_passages(told: Iterable[Told], passages: Mapping[str, Passage], tally: Tally) -> Iterator[Rated]:
    for each in told:
        found = [passages[chunk] for chunk in each.chunks if chunk in passages]
        if len(found) < len(each.chunks):
            tally.drop("passages are gone", each.question, each.documents)
            continue
        yield Rated(
            rating_id=each.rating_id,
            interaction_id=each.interaction_id,
            conversation=each.conversation,
            rater=each.rater,
            asker=each.asker,
            up=each.up,
            correction=each.correction,
            rated_at=each.rated_at,
            asked_at=each.asked_at,
            question=each.question,
            answer=each.answer,
            abstained=each.abstained,
            passages=tuple(one.passage for one in found),
            documents=tuple(sorted({*each.documents, *(one.passage.document_id for one in found)})),
            language=language_of(each.question, LANGUAGES),
            source=found[0].source if found else "",
        )


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _write_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    with path.open("wb") as file:
        file.writelines(orjson.dumps(each) + b"\n" for each in records)
