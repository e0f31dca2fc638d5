"""assistant: named ways of answering, and their versions."""

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer
from google.protobuf.json_format import ParseDict, ParseError
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.generate.v1 import generate_service_pb2 as generate_pb
from tandem.retrieve.v1.retrieve_service_pb2 import RetrieveFilter

from services.cli.errors import Failure
from services.cli.gateway import int32
from services.cli.output import plain
from services.cli.session import Session
from services.cli.verbs.access import show
from services.cli.views.tables import table

COLUMNS = ("name", "version", "instructions", "sources", "adapter", "languages", "answer_length", "citation_policy")
ABOUT = (*COLUMNS, "filter", "top_k", "without_retrieval", "without_abstention", "created_at")

Name = Annotated[str, typer.Argument(help="The assistant's name.")]
Version = Annotated[int, typer.Option("--version", help="One of its versions; 0 means the one in use.")]
Expected = Annotated[int | None, typer.Option("--if-version", help="Only where this is its version; 0 is none.")]


class Length(StrEnum):
    """How much an answer says."""

    SHORT = "short"
    MEDIUM = "medium"
    LONG = "long"


class Citations(StrEnum):
    """What becomes of sentences that no passage supports."""

    MARK = "mark"
    REQUIRE = "require"
    OFF = "off"


_LENGTHS: dict[Length | None, generate_pb.AnswerLength.ValueType] = {
    None: generate_pb.ANSWER_LENGTH_UNSPECIFIED,
    Length.SHORT: generate_pb.ANSWER_LENGTH_SHORT,
    Length.MEDIUM: generate_pb.ANSWER_LENGTH_MEDIUM,
    Length.LONG: generate_pb.ANSWER_LENGTH_LONG,
}
_POLICIES: dict[Citations, pb.CitationPolicy.ValueType] = {
    Citations.MARK: pb.CITATION_POLICY_UNSPECIFIED,
    Citations.REQUIRE: pb.CITATION_POLICY_REQUIRE,
    Citations.OFF: pb.CITATION_POLICY_OFF,
}


def put(
    session: Session,
    name: Name,
    instructions: Annotated[str, typer.Option(help="What it must keep to.")] = "",
    source: Annotated[list[str] | None, typer.Option(help="A source it reads; may be given again.")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="A kind of document it reads; may be given again.")] = None,
    author: Annotated[list[str] | None, typer.Option(help="An author it reads; may be given again.")] = None,
    metadata: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE that a document's metadata must have; VALUE is JSON, or a text.")
    ] = None,
    adapter: Annotated[str, typer.Option(help="The adapter it answers with, by name or alias.")] = "",
    top_k: Annotated[int, typer.Option("--top-k", "-k", help="Passages it retrieves; 0 means the default.")] = 0,
    language: Annotated[list[str] | None, typer.Option(help="A language it answers in, such as fr.")] = None,
    length: Annotated[Length | None, typer.Option(help="How much it says.")] = None,
    citations: Annotated[Citations, typer.Option(help="What becomes of unsupported sentences.")] = Citations.MARK,
    retrieval: Annotated[bool, typer.Option(help="Answer from the documents.")] = True,
    abstain: Annotated[bool, typer.Option(help="Say so where the documents do not tell.")] = True,
    if_version: Expected = None,
) -> None:
    """Make an assistant, or a new version of the one of that name."""
    assistant = pb.Assistant(
        name=name,
        instructions=instructions,
        sources=source or (),
        adapter=adapter,
        top_k=int32(top_k),
        without_retrieval=not retrieval,
        languages=language or (),
        filter=RetrieveFilter(kinds=kind or (), authors=author or ()),
        citation_policy=_POLICIES[citations],
        answer_length=_LENGTHS[length],
        without_abstention=not abstain,
    )
    if metadata:
        _fill(assistant, metadata)
    request = pb.PutAssistantRequest(assistant=assistant, expected_version=_known(if_version))
    _kept(session, session.gateway.call(session.gateway.assistants.PutAssistant, request).assistant)


def show_one(session: Session, name: Name, version: Version = 0) -> None:
    """Show an assistant, or one of its versions."""
    request = pb.GetAssistantRequest(name=name, version=int32(version))
    found = plain(session.gateway.call(session.gateway.assistants.GetAssistant, request).assistant)
    rows = [{"": column.replace("_", " "), name: _told(found.get(column, ""))} for column in ABOUT]
    session.output.show({"assistant": found}, lambda: table(rows, ("", name)))


def list_all(session: Session) -> None:
    """List the assistants."""
    rpc = session.gateway.assistants.ListAssistants
    found = [each for page in session.gateway.pages(rpc, pb.ListAssistantsRequest()) for each in page.assistants]
    show(session, "assistants", found, COLUMNS)


def versions(session: Session, name: Name) -> None:
    """List an assistant's versions, newest first."""
    rpc, request = session.gateway.assistants.ListAssistantVersions, pb.ListAssistantVersionsRequest(name=name)
    found = [each for page in session.gateway.pages(rpc, request) for each in page.assistants]
    show(session, "versions", found, ("version", "created_at", *COLUMNS[2:]))


def delete(session: Session, name: Name) -> None:
    """Take an assistant out of use; its versions stay."""
    session.gateway.call(session.gateway.assistants.DeleteAssistant, pb.DeleteAssistantRequest(name=name))
    session.output.show({"deleted": name}, lambda: f"assistant {name} is out of use")


def rollback(
    session: Session,
    name: Name,
    version: Annotated[int, typer.Argument(help="The version to go back to.")],
    if_version: Expected = None,
) -> None:
    """Put an old version of an assistant to use again, as a new one."""
    expected = _known(if_version)
    request = pb.RollbackAssistantRequest(name=name, version=int32(version), expected_version=expected)
    _kept(session, session.gateway.call(session.gateway.assistants.RollbackAssistant, request).assistant)


def _kept(session: Session, kept: pb.Assistant) -> None:
    session.output.show({"assistant": plain(kept)}, lambda: f"assistant {kept.name} is kept (version {kept.version})")


def _known(version: int | None) -> int | None:
    return None if version is None else int32(version)


def _fill(assistant: pb.Assistant, metadata: Sequence[str]) -> None:
    try:
        ParseDict(dict(map(_pair, metadata)), assistant.filter.metadata)
    except ParseError as error:
        raise Failure("metadata is of texts, numbers and booleans", "INVALID_METADATA") from error


def _pair(text: str) -> tuple[str, object]:
    key, equals, value = text.partition("=")
    if not equals:
        raise Failure("metadata is KEY=VALUE", "INVALID_METADATA", metadata=text)
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _told(value: object) -> object:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value
