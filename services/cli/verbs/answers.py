"""ask, search, rate: questions, passages and opinions."""

from enum import StrEnum
from typing import Annotated

import typer
from tandem.feedback.v1 import events_pb2
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.generate.v1.generate_service_pb2 import Sampling

from services.cli.gateway import int32
from services.cli.output import plain
from services.cli.session import Session
from services.cli.views import answers as views

Question = Annotated[str, typer.Argument(help="What to ask.")]
TopK = Annotated[int, typer.Option("--top-k", "-k", help="Passages wanted; 0 means the default.")]


class Thumb(StrEnum):
    """The short opinion."""

    UP = "up"
    DOWN = "down"


def ask(
    session: Session,
    question: Question,
    assistant: Annotated[str, typer.Option(help="Who answers.")] = "",
    conversation: Annotated[str, typer.Option(help="Continue this conversation, by any id you choose.")] = "",
    top_k: TopK = 0,
    max_tokens: Annotated[int, typer.Option(help="Length of the answer at most; 0 means the default.")] = 0,
    adapter: Annotated[str, typer.Option(help="Answer with this adapter, by name or alias; for trainers.")] = "",
    base_model: Annotated[bool, typer.Option("--base-model", help="Answer without an adapter; for trainers.")] = False,
    no_retrieval: Annotated[
        bool, typer.Option("--no-retrieval", help="Answer without searching; for trainers.")
    ] = False,
    timeout: Annotated[float, typer.Option(help="Seconds for the whole answer.")] = 120.0,
) -> None:
    """Ask a question; the answer streams, then its citations follow."""
    override = pb.Override(adapter=adapter or None, base_model=base_model, without_retrieval=no_retrieval)
    request = pb.AskRequest(
        question=question,
        assistant=assistant,
        conversation_id=conversation,
        top_k=int32(top_k),
        sampling=Sampling(max_tokens=int32(max_tokens)),
        override=override if override.ByteSize() else None,
    )
    stream_answer(session, request, timeout)


def stream_answer(session: Session, request: pb.AskRequest, seconds: float) -> str:
    """Print an answer as it comes, and return its id."""
    answer = views.Answer(session.output)
    for event in session.gateway.stream(session.gateway.answers.Ask, request, seconds):
        answer.take(event)
    return answer.answer_id


def search(
    session: Session,
    query: Annotated[str, typer.Argument(help="What to look for.")],
    top_k: TopK = 0,
    timeout: Annotated[float, typer.Option(help="Seconds for the whole search.")] = 30.0,
) -> None:
    """Search the documents; the best passages come first."""
    request = pb.SearchRequest(query=query, top_k=int32(top_k))
    found = session.gateway.call(session.gateway.answers.Search, request, timeout)
    session.output.show(plain(found), lambda: views.passages(found.passages))


def rate(
    session: Session,
    answer_id: Annotated[str, typer.Argument(help="The id that came with the answer.")],
    thumb: Annotated[Thumb, typer.Argument(help="Whether it was good.")],
    comment: Annotated[str, typer.Option(help="Why.")] = "",
    correction: Annotated[str, typer.Option(help="What the answer should have been.")] = "",
) -> None:
    """Rate an answer."""
    value = events_pb2.THUMB_UP if thumb is Thumb.UP else events_pb2.THUMB_DOWN
    request = pb.RateRequest(answer_id=answer_id, thumb=value, comment=comment, correction=correction)
    rating_id = session.gateway.call(session.gateway.answers.Rate, request).rating_id
    session.output.show({"rating_id": rating_id}, lambda: f"rated {thumb.value} ({rating_id})")
