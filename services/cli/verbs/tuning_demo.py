"""tune demo: from documents and ratings to a better model in use, on a company that no model can know."""

import json
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from tandem.gateway.v1 import gateway_service_pb2 as gateway_pb
from tandem.generate.v1.generate_service_pb2 import Sampling
from tandem.tune.v1 import dataset_service_pb2 as dataset_pb
from tandem.tune.v1 import gate_service_pb2 as gate_pb
from tandem.tune.v1 import registry_service_pb2 as registry_pb
from tandem.tune.v1 import tuning_service_pb2 as pb

from services.cli.comparison.ways import BOTH, RAG
from services.cli.errors import Failure
from services.cli.session import Session
from services.cli.stage import platform_of_its_own, step, until_stored
from services.cli.tuning_demo import company
from services.cli.tuning_demo.company import CATALOGUE, GOLDEN, HELP, QUESTIONS
from services.cli.tuning_demo.raters import PEOPLE, ask_and_rate, questions_of
from services.cli.verbs import answers, platform, records

ALIAS = ASSISTANT = "support"
MUST_RISE = ("F1", "citation precision")
SEED = 1
ANSWER_TOKENS = 48
ANSWER_SECONDS = 300.0
CONCURRENCY = 4


class StepFailed(Failure):
    """A step did not do what it should; it has said why."""

    reason = "STEP_FAILED"


class NotRisen(Failure):
    """The tuned model is not shown to be better than the base model on the same passages."""

    reason = "NOT_RISEN"


class Size(StrEnum):
    """How much is done."""

    FULL = "full"
    # As much as shows that everything works, and nothing about what it is worth.
    SMALL = "small"


@dataclass(frozen=True, slots=True)
class Scale:
    """Instruments to learn from, for the gate, and held out; ratings of each model; and settings of both runs."""

    learnt: int
    golden: int
    held_out: int
    ratings: int
    canary: int
    test_share: float
    # Of the run that learns from documents, and of the one that learns from ratings.
    documents: tuple[str, ...]
    preferences: tuple[str, ...]
    # Whether also what the gate refuses is put into use.
    override: bool = False
    # Of each kind that the gate measures, so many at most; 0 leaves it to its rules.
    items: int = 0

    @property
    def instruments(self) -> int:
        """How many there are in all."""
        return self.learnt + self.golden + self.held_out


SCALES = {
    Size.FULL: Scale(
        learnt=45,
        golden=12,
        held_out=27,
        ratings=60,
        canary=24,
        test_share=0.25,
        documents=("epochs=1", "learning_rate=3e-4"),
        preferences=("epochs=1",),
    ),
    Size.SMALL: Scale(
        learnt=16,
        golden=1,
        held_out=1,
        ratings=24,
        canary=6,
        test_share=0.25,
        documents=("max_steps=2", "batch_size=2"),
        preferences=("max_steps=2", "batch_size=2"),
        override=True,
        items=4,
    ),
}


def demo(
    session: Session,
    size: Annotated[
        Size, typer.Option(help="full needs an hour or more on two cores; small shows no rise.")
    ] = Size.FULL,
    out: Annotated[Path | None, typer.Option(help="Write the comparison to this file, as JSON.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write it to this file, as a page.")] = None,
) -> None:
    """Mine documents, tune, have people rate, tune on that, promote, and measure what it is worth."""
    scale = SCALES[size]
    # Not in the home, where no source may lie.
    made = tempfile.TemporaryDirectory(prefix="tandem-company-")
    with made as name, platform_of_its_own(session, "tune-demo", platform.Engine.VLLM) as own:
        folder = Path(name)
        company.write(folder, scale.learnt, scale.golden, scale.held_out, SEED)
        written = out or own.home.root / "compare.json"
        _Demo(own, scale, folder).play(written, html)
        risen = _risen(json.loads(written.read_text()))
        if size is Size.FULL and not all(risen.values()):
            raise NotRisen("not shown to rise: " + ", ".join(name for name, rose in risen.items() if not rose))


class _Demo:
    """The steps, each the command that is shown."""

    def __init__(self, session: Session, scale: Scale, folder: Path) -> None:
        self._session = session
        self._scale = scale
        self._folder = folder
        self._instruments = company.pages(scale.instruments, SEED)[: scale.learnt]
        self._rated = 0

    def play(self, out: Path, html: Path | None) -> None:
        """Go through the whole loop.

        Raises:
            StepFailed: a command failed.
        """
        self._ingest()
        self._do("assistant", "put", ASSISTANT)
        self._correct()
        self._rate("the base model", self._scale.ratings)
        share = ("--test-share", str(self._scale.test_share))
        self._do("dataset", "build", "--kind", "sft", "--from-documents", "--source", HELP, *share)
        self._do("adapters", "promote", ALIAS, *self._tuned("sft", self._scale.documents))
        self._do("assistant", "put", ASSISTANT, "--adapter", ALIAS)
        self._rate("what was tuned", self._scale.ratings)
        self._do("dataset", "build", "--kind", "kto", "--from-ratings", *share)
        candidate = self._tuned("kto", self._scale.preferences, "--parent", self._live(), "--alias", ALIAS)
        self._do("adapters", "canary", ALIAS, *candidate, "--share", "0.5")
        self._rate("both", self._scale.canary)
        self._do("adapters", "canary", ALIAS, "--end", "promote")
        self._compare(out, html)
        self._do("adapters", "rollback", ALIAS)

    def _ingest(self) -> None:
        for name in (HELP, CATALOGUE):
            self._do("source", "add", "files", str(self._folder / name))
        self._do("wait")
        self._do("eval", "keep", "golden", "--set", str(self._folder / GOLDEN))
        if self._scale.items:
            self._measure_less(self._scale.items)

    def _measure_less(self, items: int) -> None:
        held = self._session.gateway.call(self._session.gateway.gate.GetGateRules, gate_pb.GetGateRulesRequest())
        head, mark, measured = held.rules.content.partition("[items]")
        counts, rules_mark, rules = measured.partition("[[rules]]")
        file = self._folder / "rules.toml"
        file.write_text(f"{head}{mark}{re.sub(r'= [0-9]+', f'= {items}', counts)}{rules_mark}{rules}")
        self._do("tune", "rules", "set", str(file))

    def _correct(self) -> None:
        """Ask something, and say what the answer should have been."""
        [asked] = questions_of(self._instruments, 1, seed=SEED)
        step(self._session, "ask", asked.question, "--assistant", ASSISTANT, "--max-tokens", str(ANSWER_TOKENS))
        sampling = Sampling(max_tokens=ANSWER_TOKENS)
        request = gateway_pb.AskRequest(question=asked.question, assistant=ASSISTANT, sampling=sampling)
        answer = answers.stream_answer(self._session, request, ANSWER_SECONDS)
        self._do("rate", answer, "down", "--correction", asked.told)
        self._rated += 1

    def _rate(self, who: str, count: int) -> None:
        """Have people ask and rate, and wait until that has come through the event log."""
        asked = questions_of(self._instruments, count, seed=SEED + self._rated)
        self._session.output.say(f"\n{len(PEOPLE)} people ask {count} questions, and rate {who}", "bold magenta")
        liked = ask_and_rate(self._session, ASSISTANT, asked, seed=SEED + self._rated)
        self._session.output.say(f"they like {liked} of {count} answers")
        self._rated += count
        until_stored(partial(records.stored_ratings, self._session), self._rated)

    def _tuned(self, method: str, settings: Sequence[str], *options: str) -> tuple[str, ...]:
        """Train on the newest data set, and return the adapter as commands name it.

        What the gate refuses goes into use only where nothing is to be shown by it.
        """
        chosen = ("--method", method, "--dataset", self._newest_dataset(), "--golden", "golden", "--seed", str(SEED))
        self._do("tune", "run", *chosen, *options, *(part for each in settings for part in ("--set", each)))
        listed = self._session.gateway.call(self._session.gateway.rerankers.ListRuns, pb.ListRunsRequest(page_size=1))
        made = listed.runs[0].training
        self._do("adapters", "show", made.adapter)
        anyway = ("--override", "--reason", "it shows how") if self._scale.override and not made.passed else ()
        return (made.adapter, *anyway)

    def _live(self) -> str:
        request = registry_pb.ListAliasesRequest(page_size=1)
        listed = self._session.gateway.call(self._session.gateway.registry.ListAliases, request)
        return str(listed.aliases[0].digest)

    def _newest_dataset(self) -> str:
        request = dataset_pb.ListDatasetsRequest(page_size=1)
        listed = self._session.gateway.call(self._session.gateway.datasets.ListDatasets, request)
        return str(listed.datasets[0].digest)

    def _compare(self, out: Path, html: Path | None) -> None:
        asked = ("--questions", str(self._folder / QUESTIONS), "--assistant", ASSISTANT, "--language", "en")
        terms = f"--max-tokens {ANSWER_TOKENS} --timeout {ANSWER_SECONDS} --concurrency {CONCURRENCY}".split()
        written = ("--out", str(out), *(("--html", str(html)) if html else ()))
        self._do("compare", *asked, *terms, *written)

    def _do(self, *arguments: str) -> None:
        """Show a command, and run it as anybody would."""
        step(self._session, *arguments)
        home = ("--home", str(self._session.home.root))
        as_json = ("--json",) if self._session.output.as_json else ()
        command = [*self._session.program.argv, *arguments, *home, *as_json]
        done = subprocess.run(command, check=False)  # noqa: S603 - this very command, with what is written above
        if done.returncode:
            raise StepFailed(f"tandem {arguments[0]} {arguments[1]} failed", code=done.returncode)


def _risen(compared: Mapping[str, Any]) -> dict[str, bool]:
    """Return which of the measures that must rise from RAG to RAG + tuned have, with an interval above 0."""
    measures: Mapping[str, Any] = next(
        each["measures"] for each in compared["differences"] if (each["first"], each["second"]) == (RAG, BOTH)
    )
    return {name: name in measures and measures[name]["low"] > 0 for name in MUST_RISE}
