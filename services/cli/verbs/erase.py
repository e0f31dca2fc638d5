"""erase: removes a person, or the tenant, from everywhere, and reports what was removed."""

from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text
from tandem.gateway.v1 import erasure_service_pb2 as pb

from services.cli.errors import Failure
from services.cli.output import plain, visible
from services.cli.session import Session
from services.cli.views.tables import table

WATCH_SECONDS = 24 * 3600.0
KEPT = "The audit log and this report stay."


class NotConfirmed(Failure):
    """The name typed is not the tenant's."""

    reason = "NOT_CONFIRMED"


def erase_user(
    session: Session,
    user_id: Annotated[str, typer.Argument(help="The user's id, or an alias.")],
    wait: Annotated[bool, typer.Option(help="Wait until it is done.")] = True,
) -> None:
    """Erase a user: documents, interactions, ratings, and the directory's entry."""
    request = pb.EraseUserRequest(user_id=user_id)
    _follow(session, session.gateway.call(session.gateway.erasures.EraseUser, request).erasure, wait)


def erase_tenant(
    session: Session,
    tenant: Annotated[str, typer.Argument(help="The tenant's name.")],
    confirm: Annotated[str, typer.Option(help="The name again; asked for without it.")] = "",
    wait: Annotated[bool, typer.Option(help="Wait until it is done.")] = True,
) -> None:
    """Erase everything of your tenant, its keys last."""
    typed = confirm or typer.prompt(f"This removes everything of {tenant}. Type its name to go on", err=True)
    if typed != tenant:
        raise NotConfirmed("nothing was erased: that is not the name", tenant=tenant)
    request = pb.EraseTenantRequest(confirmation=tenant)
    _follow(session, session.gateway.call(session.gateway.erasures.EraseTenant, request).erasure, wait)


def list_erasures(session: Session) -> None:
    """List erasures, newest first."""
    pages = session.gateway.pages(session.gateway.erasures.ListErasures, pb.ListErasuresRequest())
    rows = [plain(erasure) for page in pages for erasure in page.erasures]
    columns = ("erasure_id", "state", "user_id", "created_at", "finished_at")
    session.output.show({"erasures": rows}, lambda: table(rows, columns))


def _follow(session: Session, erasure: pb.Erasure, wait: bool) -> None:
    """Show the last of an erasure, or what it is now."""
    if wait:
        session.output.say(
            f"erasure {erasure.erasure_id} goes on until it is done, with or without this command", "dim"
        )
        request = pb.WatchErasureRequest(erasure_id=erasure.erasure_id)
        for answer in session.gateway.stream(session.gateway.erasures.WatchErasure, request, WATCH_SECONDS):
            erasure = answer.erasure
    report = plain(erasure)
    session.output.show({"erasure": report}, lambda: _report(report))


def _report(erasure: dict[str, Any]) -> RenderableType:
    lines: list[RenderableType] = [
        Text(f"erasure {erasure['erasure_id']} is {erasure['state']}"),
        table(erasure["removed"], ("kind", "count")),
    ]
    if erasure["stale_adapters"]:
        lines.append(Text("adapters that learnt from it: " + visible(", ".join(erasure["stale_adapters"]))))
    return Group(*lines, Text(KEPT, "dim"))
