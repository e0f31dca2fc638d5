"""conversation: what the caller asked, and was answered, in order."""

from itertools import islice
from typing import Annotated

import typer
from tandem.feedback.v1 import feedback_service_pb2 as pb

from services.cli.output import plain
from services.cli.session import Session
from services.cli.verbs.records import Limit
from services.cli.views.tables import table, turns

ConversationId = Annotated[str, typer.Argument(help="The conversation's id.")]
WITHHELD = "(withheld: its documents may not be read any more)"


def list_all(session: Session, limit: Limit = 20) -> None:
    """List the caller's own conversations, the one that went on last first."""
    rpc, request = session.gateway.feedback.ListConversations, pb.ListConversationsRequest()
    found = (each for page in session.gateway.pages(rpc, request) for each in page.conversations)
    rows = [plain(each) for each in islice(found, limit)]
    shown = [row | {"title": WITHHELD if row["withheld"] else row["title"]} for row in rows]
    columns = ("conversation_id", "last_asked_at", "turns", "assistant", "title")
    session.output.show({"conversations": rows}, lambda: table(shown, columns))


def show(
    session: Session,
    conversation: ConversationId,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100, help="The last so many turns.")] = 100,
) -> None:
    """Show a conversation, oldest turn first."""
    request = pb.GetConversationRequest(conversation_id=conversation, max_turns=limit)
    found = session.gateway.call(session.gateway.feedback.GetConversation, request)
    rows = [plain(each) for each in found.interactions]
    shown = [row | {"question": WITHHELD} if row["withheld"] else row for row in rows]
    session.output.show({"interactions": rows}, lambda: turns(shown))


def delete(session: Session, conversation: ConversationId) -> None:
    """Remove a conversation for good."""
    request = pb.DeleteConversationRequest(conversation_id=conversation)
    removed = session.gateway.call(session.gateway.feedback.DeleteConversation, request).removed
    session.output.show(
        {"deleted": conversation, "removed": removed}, lambda: f"conversation {conversation} is gone ({removed} turns)"
    )
