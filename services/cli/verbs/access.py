"""key: who may ask."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated

import typer
from google.protobuf.message import Message
from tandem.gateway.v1 import gateway_service_pb2 as gateway_pb

from services.cli.output import plain
from services.cli.session import Session
from services.cli.views import tables as views
from services.common.access import Role, number_of


def create_key(
    session: Session,
    name: Annotated[str, typer.Option(help="For people: whose key it is.")] = "tandem",
    role: Annotated[list[Role] | None, typer.Option(help="What it may do; reader and rater if none.")] = None,
    expires: Annotated[datetime | None, typer.Option(help="When it ends by itself, in UTC.")] = None,
    acts_for_users: Annotated[bool, typer.Option(help="Its calls may carry an end user.")] = False,
) -> None:
    """Make an API key; its secret is shown this once."""
    request = gateway_pb.CreateApiKeyRequest(name=name, roles=map(number_of, role or ()), acts_for_users=acts_for_users)
    if expires:
        request.expires_at.FromDatetime(expires.astimezone(UTC) if expires.tzinfo else expires.replace(tzinfo=UTC))
    made = session.gateway.call(session.gateway.access.CreateApiKey, request)
    session.output.show(plain(made), lambda: views.made_key(made))


def list_keys(session: Session) -> None:
    """List the API keys, newest first."""
    rpc = session.gateway.access.ListApiKeys
    keys = [key for page in session.gateway.pages(rpc, gateway_pb.ListApiKeysRequest()) for key in page.api_keys]
    show(
        session,
        "api_keys",
        keys,
        ("key_id", "name", "roles", "acts_for_users", "created_at", "expires_at", "revoked_at"),
    )


def revoke_key(session: Session, key_id: Annotated[str, typer.Argument(help="The key's id.")]) -> None:
    """End an API key."""
    session.gateway.call(session.gateway.access.RevokeApiKey, gateway_pb.RevokeApiKeyRequest(key_id=key_id))
    session.output.show({"revoked": key_id}, lambda: f"key {key_id} is revoked")


def show(session: Session, name: str, messages: Iterable[Message], columns: Iterable[str]) -> None:
    """Show a list of things with names."""
    rows = [plain(message) for message in messages]
    session.output.show({name: rows}, lambda: views.table(rows, columns))
