"""A gateway that answers in four ways, the command that compares them, and a judge."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tandem.gateway.v1 import gateway_service_pb2 as pb

from services.cli.comparison import judge as judges
from services.cli.comparison.ways import BASE, BOTH, RAG, TUNED
from tests.fake_judge import FakeJudge, serving
from tests.unit.cli.evaluation.conftest import Platform, platform
from tests.unit.cli.evaluation.platform import passage

__all__ = ["platform"]
DIGEST = "sha256:" + "a" * 64


def way_of(request: pb.AskRequest) -> str:
    """Return in which of the four ways a question is asked."""
    tuned, override = request.override.HasField("adapter"), request.override
    assert tuned is not override.base_model
    if override.without_retrieval:
        return TUNED if tuned else BASE
    return BOTH if tuned else RAG


class FourWays:
    """Answers `texts` by way; RAG and RAG + tuned are given document a, and cite it where they are told to."""

    def __init__(self) -> None:
        self.texts: dict[str, str | Callable[[str], str]] = dict.fromkeys((BASE, RAG, TUNED, BOTH), "four")
        self.cites = True
        self.digests = {BASE: "", RAG: "", TUNED: DIGEST, BOTH: DIGEST}
        self.passage = "text"
        self.order: list[tuple[str, str]] = []

    def __call__(self, request: pb.AskRequest) -> Iterator[pb.AskResponse]:
        way = way_of(request)
        self.order.append((request.question, way))
        text = self.texts[way]
        said = text(request.question) if callable(text) else text
        searches = way in {RAG, BOTH}
        passages = [passage("a", self.passage)] if searches else []
        citations = [pb.Citation(number=1, passage_index=0, answer_end=len(said))] if searches and self.cites else []
        checked = pb.Citations(citations=citations, supported_share=float(searches), sentences=1)
        yield pb.AskResponse(retrieval_done=pb.RetrievalDone(passages=passages))
        yield pb.AskResponse(token_delta=pb.TokenDelta(text=said))
        yield pb.AskResponse(citations=checked)
        yield pb.AskResponse(
            usage=pb.Usage(
                prompt_tokens=400 if searches else 40,
                completion_tokens=len(said.split()),
                first_token_ms=30 if searches else 10,
                model="tiny",
                adapter_digest=self.digests[way],
            )
        )


@pytest.fixture
def ways(platform: Platform) -> FourWays:
    found = FourWays()
    platform.verb = "compare"
    platform.answers.answer = found
    return found


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "set.csv"
    path.write_text("question,answers,documents\n" + "".join(f"number {each}?,four,a\n" for each in range(40)))
    return path


@pytest.fixture
def judge(monkeypatch) -> Iterator[FakeJudge]:
    """A judge that is asked again without a pause."""
    monkeypatch.setattr(judges, "FIRST_PAUSE_SECONDS", 0.0)
    with serving() as found:
        yield found
