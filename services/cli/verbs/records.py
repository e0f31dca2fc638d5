"""interactions, ratings: what was asked and answered, and what people thought of it."""

from itertools import islice
from typing import Annotated, Any

import typer
from tandem.feedback.v1 import feedback_service_pb2 as pb

from services.cli.output import plain
from services.cli.session import Session
from services.cli.views.tables import table, turns

Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")]


def interactions(session: Session, limit: Limit = 20) -> None:
    """List questions and answers, newest first."""
    rows = stored_interactions(session, limit)
    session.output.show({"interactions": rows}, lambda: turns(rows))


def ratings(session: Session, limit: Limit = 20) -> None:
    """List ratings, newest first."""
    rows = stored_ratings(session, limit)
    columns = ("rated_at", "thumb", "comment", "correction", "subject")
    session.output.show({"ratings": rows}, lambda: table(rows, columns))


def stored_interactions(session: Session, limit: int) -> list[dict[str, Any]]:
    """Return at most `limit` questions with their answers, newest first."""
    rpc, request = session.gateway.feedback.ListInteractions, pb.ListInteractionsRequest()
    found = (each for page in session.gateway.pages(rpc, request) for each in page.interactions)
    return [plain(each) for each in islice(found, limit)]


def stored_ratings(session: Session, limit: int) -> list[dict[str, Any]]:
    """Return at most `limit` ratings, newest first."""
    rpc, request = session.gateway.feedback.ListRatings, pb.ListRatingsRequest()
    found = (each for page in session.gateway.pages(rpc, request) for each in page.ratings)
    return [plain(each) for each in islice(found, limit)]
