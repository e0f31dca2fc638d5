"""Makes a function a verb: the options that all verbs share, and one way to report a failure."""

import functools
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import grpc
import typer

from services.cli.errors import Failure, failure_of
from services.cli.gateway import Caller
from services.cli.home import Home
from services.cli.output import Output
from services.cli.session import Program, Session, Trust

INTERRUPTED = 130
PANEL = "Every verb"

# Takes a Session and the values of its own options.
Verb = Callable[..., None]


def _shared(  # noqa: PLR0913 - as many as every verb has
    *,
    home: Annotated[
        Path,
        typer.Option(envvar="TANDEM_HOME", help="The folder of the platform on this machine.", rich_help_panel=PANEL),
    ] = Path(".tandem"),
    address: Annotated[
        str, typer.Option(envvar="TANDEM_ADDRESS", help="The gateway; the home's by default.", rich_help_panel=PANEL)
    ] = "",
    api_key: Annotated[
        str, typer.Option(envvar="TANDEM_API_KEY", help="The key; the home's first by default.", rich_help_panel=PANEL)
    ] = "",
    authority: Annotated[
        Path | None,
        typer.Option(
            envvar="TANDEM_AUTHORITY", help="PEM file: who certifies the gateway elsewhere.", rich_help_panel=PANEL
        ),
    ] = None,
    allow_plaintext: Annotated[
        bool,
        typer.Option(
            "--allow-plaintext",
            envvar="TANDEM_ALLOW_PLAINTEXT",
            help="Call a gateway elsewhere without TLS.",
            rich_help_panel=PANEL,
        ),
    ] = False,
    on_behalf_of: Annotated[
        str,
        typer.Option(
            envvar="TANDEM_ON_BEHALF_OF",
            help="The user whom the key speaks for; it must be one that acts for users.",
            rich_help_panel=PANEL,
        ),
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.", rich_help_panel=PANEL)] = False,
) -> None:
    """Declare the options of every verb."""


def verb(function: Verb, program: Program) -> Callable[..., None]:
    """Return `function`, whose first argument is a Session, as Typer wants it."""

    @functools.wraps(function)
    def run(*, home: Path, address: str, json: bool, **own: Any) -> None:
        caller = Caller(own.pop("api_key"), own.pop("on_behalf_of"))
        trust = Trust(own.pop("authority"), own.pop("allow_plaintext"))
        session = Session(program, Home(home), Output(as_json=json), address, caller, trust)
        _report(session, functools.partial(function, session, **own))

    own = list(inspect.signature(function).parameters.values())[1:]
    shared = inspect.signature(_shared).parameters.values()
    keyword_only = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*own, *shared)]
    # Typer reads the signature and the annotations; the wrapper's own say nothing.
    run.__signature__ = inspect.Signature(keyword_only)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in keyword_only}
    return run


def _report(session: Session, work: Callable[[], None]) -> None:
    """Do a verb's work; what goes wrong is one line, or one object, and an exit code."""
    try:
        work()
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        # Whoever read this has read enough, as `head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (Failure, grpc.RpcError, OSError, ModuleNotFoundError, UnicodeError) as error:
        _print(session.output, _failure(error, session))
        raise typer.Exit(1) from None
    finally:
        session.close()


def _failure(error: Exception, session: Session) -> Failure:
    if isinstance(error, Failure):
        return error
    if isinstance(error, grpc.RpcError):
        return failure_of(error, session.gateway_address)
    if isinstance(error, ModuleNotFoundError):
        return Failure(f"{error}: pip install 'tandem[local]' brings it", "NOT_INSTALLED")
    return Failure(str(error), type(error).__name__)


def _print(output: Output, failure: Failure) -> None:
    if output.as_json:
        output.json(failure.as_json())
        return
    output.errors.print("error:", style="bold red", end=" ")
    output.errors.print(f"{failure} ({failure.reason})", markup=False)
