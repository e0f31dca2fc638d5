"""What the gate needs of others: an engine that answers and scores, what to measure on, and the rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from services.common.evaluation.questions import Question
from services.common.identity import Identity
from services.tune.domain.gate_rules import KeptRules


@dataclass(frozen=True, slots=True)
class GivenPassage:
    """A passage that a question is answered from; `documents` are those in which it, or nearly the same, stands."""

    title: str
    text: str
    documents: tuple[str, ...] = ()
    score: float = 0.0
    context: str = ""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What an engine packs a prompt from; `history` is pairs of question and answer, oldest first.

    `restricted` prompts hold what not everybody in the tenant may read.
    """

    question: str
    instructions: str = ""
    history: tuple[tuple[str, str], ...] = ()
    passages: tuple[GivenPassage, ...] = ()
    restricted: bool = False
    language: str = ""


@dataclass(frozen=True, slots=True)
class Written:
    """An answer: which passages its prompt held, and seconds until the first token and until the last."""

    text: str
    passages: tuple[int, ...]
    tokens: int
    first_token_seconds: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Likelihood:
    """The sum of the natural logarithms of a completion's tokens' probabilities, and how many tokens that is."""

    logprob: float
    tokens: int

    @property
    def mean(self) -> float:
        """The mean a token, so that long completions are not unlikelier for being long."""
        return self.logprob / max(1, self.tokens)


@dataclass(frozen=True, slots=True)
class Contender:
    """Who is measured: the name under which an engine knows it, "" for the base model, and its digest, likewise."""

    name: str = ""
    digest: str = ""


class Engine(Protocol):
    """Answers and scores as somebody; it waits while users keep the engine busy.

    `write` and `score` raise ContenderAway when the engine has no adapter of the name any more, and ContenderMoved
    when another than the contender answered. Every method raises ServiceUnavailable when the engine does not
    answer or stays too busy, and CallRefused when it says no.
    """

    async def write(self, identity: Identity, contender: Contender, prompt: Prompt, max_tokens: int) -> Written:
        """Return the likeliest answer."""
        ...

    async def score(
        self, identity: Identity, contender: Contender, prompt: Prompt, completions: Sequence[str]
    ) -> list[Likelihood]:
        """Return how likely each of the completions is after the prompt."""
        ...

    async def load(self, identity: Identity, contender: Contender) -> None:
        """Put a published adapter into use under its name."""
        ...

    async def unload(self, identity: Identity, contender: Contender) -> None:
        """Take it out of use; what is not there is out of use already."""
        ...


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows that a candidate has not learnt from: the data set's kind ("sft", "kto", "dpo" or "grpo"), and its rows."""

    kind: str
    rows: Sequence[Mapping[str, Any]]


class HeldOut(Protocol):
    """The test splits of data sets."""

    async def test(self, tenant_id: str, dataset: str) -> Rows:
        """Return the rows that were held out of a data set.

        Raises:
            DatasetNotFound, DatasetAltered, DatasetsUnavailable: they cannot be had.
        """
        ...


class GoldenSets(Protocol):
    """A tenant's kept sets of questions."""

    async def questions(self, identity: Identity, name: str) -> tuple[Question, ...]:
        """Return a set's questions, those left out whose documents the caller may not all read.

        Raises:
            SetNotFound: the tenant has none of this name.
            PermissionsUnavailable, StoreUnavailable: it cannot be told.
        """
        ...


class GoldenPassages(Protocol):
    """Searches as somebody, as the tenant's searches are now."""

    async def passages(self, identity: Identity, query: str, top_k: int) -> tuple[GivenPassage, ...]:
        """Return the best passages, best first.

        Raises:
            ServiceUnavailable: the searches do not answer.
            CallRefused: they say no.
        """
        ...


class GateRules(Protocol):
    """The tenants' rules."""

    async def live(self, identity: Identity) -> KeptRules:
        """Return the rules that hold for a tenant now: its own, or else the deployment's.

        Raises:
            StoreUnavailable: it cannot be told.
        """
        ...


class LiveAdapters(Protocol):
    """What aliases point at; an AdapterRegistry is one."""

    async def live(self, tenant_id: str, alias: str) -> str:
        """Return the digest of the adapter that an alias points at, "" for the base model.

        Raises:
            StoreUnavailable: it cannot be told.
        """
        ...
