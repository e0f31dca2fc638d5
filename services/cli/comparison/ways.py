"""The four ways of answering that are compared, and the terms that are the same for all of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tandem.gateway.v1 import gateway_service_pb2 as pb

from services.cli.errors import Failure
from services.cli.evaluation.asking import Asking
from services.cli.evaluation.outcomes import Outcome
from services.cli.evaluation.running import Run, patiently
from services.cli.gateway import Gateway
from services.common.evaluation.questions import Question

BASE, RAG, TUNED, BOTH = "base", "RAG", "tuned", "RAG + tuned"
# From what asks for the least upkeep to what asks for the most.
WAYS = (BASE, RAG, TUNED, BOTH)
SEARCHING = (RAG, BOTH)
# Every two ways, the simpler one first.
PAIRS = ((BASE, RAG), (BASE, TUNED), (BASE, BOTH), (RAG, BOTH), (TUNED, BOTH), (RAG, TUNED))
# What a table has room for; plots and JSON have all.
SHOWN_PAIRS = ((BASE, RAG), (BASE, TUNED), (BASE, BOTH), (RAG, BOTH))


class NoAdapter(Failure):
    """Nothing tuned is named, or what is named is the base model."""

    reason = "NO_ADAPTER"


class NoRetrieval(Failure):
    """The assistant answers without retrieval, so that there is no way with it."""

    reason = "ASSISTANT_WITHOUT_RETRIEVAL"


class NotOverridden(Failure):
    """What answered as the base model was an adapter: the platform does not know overrides."""

    reason = "NOT_OVERRIDDEN"


@dataclass(frozen=True, slots=True)
class Contestants:
    """The assistant and the adapter that the four ways are made of."""

    assistant: str
    adapter: str


def contestants(gateway: Gateway, assistant: str, adapter: str) -> Contestants:
    """Return who is compared; an adapter of "" is the assistant's own.

    Raises:
        NoAdapter: neither is one named nor has the assistant one.
        NoRetrieval: the assistant does not search.
    """
    found = gateway.call(gateway.assistants.GetAssistant, pb.GetAssistantRequest(name=assistant)).assistant
    name = assistant or "default"
    if found.without_retrieval:
        raise NoRetrieval(f"assistant {name} answers without retrieval: compare one that searches", assistant=name)
    if not (adapter or found.adapter):
        raise NoAdapter(f"assistant {name} has no adapter: name one with --adapter", assistant=name)
    return Contestants(assistant, adapter or found.adapter)


def ways_of(gateway: Gateway, who: Contestants, terms: pb.AskRequest, seconds: float) -> dict[str, Asking]:
    """Return how a question is asked in each way: with `terms`, the same for all, within `seconds`."""
    return {name: Asking(gateway, _request(who, terms, override), seconds) for name, override in overrides(who).items()}


def overrides(who: Contestants) -> dict[str, pb.Override]:
    """Return what makes each way of the assistant's own way."""
    return {
        BASE: pb.Override(base_model=True, without_retrieval=True),
        RAG: pb.Override(base_model=True),
        TUNED: pb.Override(adapter=who.adapter, without_retrieval=True),
        BOTH: pb.Override(adapter=who.adapter),
    }


def tried(ways: Mapping[str, Asking], question: Question, who: Contestants) -> str:
    """Ask one question in every way, and return the digest of the adapter that answers.

    What is wrong with every question is found now, and what is slow only once is over before anything is measured.

    Raises:
        NoAdapter: the base model answers under the adapter's name.
        NotOverridden: an adapter answers in place of the base model.
        Failure, grpc.RpcError: nothing answers.
    """
    outcomes = {name: patiently(ask, question) for name, ask in ways.items()}
    # These ask the engine always, where others may abstain before.
    for name in (BASE, TUNED):
        if outcomes[name].error:
            raise Failure(f"the first question failed with {name}", outcomes[name].error)
    if base := digest_of(outcomes[BASE]):
        raise NotOverridden("an adapter answered in place of the base model: this platform is older", digest=base)
    digest = digest_of(outcomes[TUNED])
    if not digest:
        raise NoAdapter(f"{who.adapter} is the base model: there is nothing tuned to compare", adapter=who.adapter)
    return digest


def digests(runs: Iterable[Run]) -> set[str]:
    """Return the adapters that answered in some runs."""
    return {digest for run in runs for outcome in run.answered if (digest := digest_of(outcome))}


def digest_of(outcome: Outcome) -> str:
    """Return the digest of the adapter that answered; "" where none did."""
    return outcome.reply.usage.adapter_digest if outcome.reply else ""


def _request(who: Contestants, terms: pb.AskRequest, override: pb.Override) -> pb.AskRequest:
    request = pb.AskRequest(assistant=who.assistant, override=override)
    request.MergeFrom(terms)
    return request
