"""secret …: what connectors need to enter other systems. A value is read, never written on the command line."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from tandem.ingest.v1 import secret_service_pb2 as pb

from services.cli.output import plain
from services.cli.session import Session
from services.cli.views.tables import table

SecretName = Annotated[str, typer.Argument(metavar="NAME", help="The secret's name.")]


def put(
    session: Session,
    name: SecretName,
    file: Annotated[Path | None, typer.Option(help="Where the value is; standard input by default.")] = None,
) -> None:
    """Keep a secret; all of the input is its value, but a newline at the end."""
    value = file.read_bytes() if file else sys.stdin.buffer.read()
    request = pb.PutSecretRequest(name=name, value=value.removesuffix(b"\n").removesuffix(b"\r"))
    secret = session.gateway.call(session.gateway.secrets.PutSecret, request).secret
    session.output.show({"secret": plain(secret)}, lambda: f"secret {secret.name} is kept")


def list_secrets(session: Session) -> None:
    """List the secrets' names."""
    rpc, request = session.gateway.secrets.ListSecrets, pb.ListSecretsRequest()
    rows = [plain(secret) for page in session.gateway.pages(rpc, request) for secret in page.secrets]
    session.output.show({"secrets": rows}, lambda: table(rows, ("name", "updated_at", "key_id")))


def delete(session: Session, name: SecretName) -> None:
    """Remove a secret."""
    session.gateway.call(session.gateway.secrets.DeleteSecret, pb.DeleteSecretRequest(name=name))
    session.output.show({"deleted": name}, lambda: f"secret {name} is removed")
