"""tune rules …: by which rules adapters are judged before they may be promoted."""

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text
from tandem.tune.v1 import gate_service_pb2 as pb

from services.cli.errors import Failure
from services.cli.output import plain, visible
from services.cli.session import Session
from services.cli.views.tables import table


class UnreadableRules(Failure):
    """The file is not there, or is no text."""

    reason = "UNREADABLE_RULES"


def show(
    session: Session,
    version: Annotated[int, typer.Option(help="An earlier version; 0 is the one that holds.")] = 0,
) -> None:
    """Show the rules, as a file to change and to set."""
    rules = session.gateway.call(session.gateway.gate.GetGateRules, pb.GetGateRulesRequest(version=version)).rules
    session.output.show({"rules": plain(rules)}, lambda: Text(visible(rules.content).rstrip()))


def put(
    session: Session,
    file: Annotated[Path, typer.Argument(help="The rules, in TOML.")],
    expected: Annotated[
        int | None, typer.Option("--if-version", help="Only where this version holds; 0 is none.")
    ] = None,
) -> None:
    """Have other rules hold from now on; for admins."""
    try:
        content = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UnreadableRules(f"{file} cannot be read as text") from error
    if expected is None:
        held = session.gateway.call(session.gateway.gate.GetGateRules, pb.GetGateRulesRequest())
        expected = held.rules.version
    request = pb.PutGateRulesRequest(content=content, expected_version=expected)
    rules = session.gateway.call(session.gateway.gate.PutGateRules, request).rules
    session.output.show({"rules": plain(rules)}, lambda: f"version {rules.version} of the gate's rules holds")


def history(
    session: Session, limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")] = 20
) -> None:
    """List the versions of the rules, newest first."""
    pages = session.gateway.pages(session.gateway.gate.ListGateRules, pb.ListGateRulesRequest())
    rows = [plain(each) for each in islice((one for page in pages for one in page.rules), limit)]
    session.output.show({"rules": rows}, lambda: table(rows, ("version", "put_at", "subject")))
