"""adapters …: what was trained, which aliases point at it, and what is tried under them."""

from collections.abc import Iterator
from enum import StrEnum
from itertools import islice
from typing import Annotated, Any

import typer
from tandem.generate.v1 import generate_service_pb2 as generate_pb
from tandem.tune.v1 import registry_service_pb2 as pb

from services.cli.errors import Failure
from services.cli.gateway import int32
from services.cli.output import plain
from services.cli.session import Session
from services.cli.views import adapters as views
from services.cli.views.tables import table

# Files are copied, checked and signed meanwhile; a model is converted the first time.
IMPORT_SECONDS = 300.0
LOAD_SECONDS = 120.0
BASE = "base"
MIN_DIGITS = 4
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")]
Alias = Annotated[str, typer.Argument(metavar="ALIAS", help="What assistants name, such as support.")]
Digest = Annotated[str, typer.Argument(help="The adapter's digest, or its beginning.")]
Target = Annotated[str, typer.Argument(help="The adapter's digest, or its beginning; base is the base model.")]
Expected = Annotated[
    int | None, typer.Option("--at", help="Only if the alias is at this revision; 0: only if it is not there.")
]
Cleared = Annotated[bool, typer.Option("--cleared", help="Everybody may be answered from what it learnt; for admins.")]
Override = Annotated[bool, typer.Option("--override", help="Though it has not passed the gate; for admins.")]
Reason = Annotated[str, typer.Option(help="Why; an override needs it, and the audit log keeps it.")]


class UnknownAdapter(Failure):
    """No adapter's digest begins so, or several do."""

    reason = "ADAPTER_NOT_FOUND"


class Ambiguous(Failure):
    """Two things are asked for that exclude each other."""

    reason = "AMBIGUOUS"


class End(StrEnum):
    """How somebody ends a canary."""

    PROMOTE = "promote"
    STOP = "stop"


def list_adapters(session: Session, limit: Limit = 20) -> None:
    """List the adapters that are registered, newest first."""
    found = list(islice(_adapters(session), limit))
    session.output.show({"adapters": [_shown(each) for each in found]}, lambda: views.adapters_table(found))


def show(session: Session, digest: Digest) -> None:
    """Show an adapter: its origin, how it did at the gate, and what replicas have made of it."""
    request = pb.GetAdapterRequest(digest=_whole(session, digest))
    found = session.gateway.call(session.gateway.registry.GetAdapter, request)
    data = {"adapter": _shown(found.adapter), "replicas": list(map(plain, found.replicas))}
    session.output.show(data, lambda: views.adapter(found))


def diff(session: Session, left: Digest, right: Digest) -> None:
    """Show two adapters side by side: origin, gate, and how far apart their weights are."""
    request = pb.DiffAdaptersRequest(left=_whole(session, left), right=_whole(session, right))
    found = session.gateway.call(session.gateway.registry.DiffAdapters, request, LOAD_SECONDS)
    sides = {"left": _shown(found.left), "right": _shown(found.right)}
    session.output.show(plain(found) | sides, lambda: views.difference(found))


def take_in(
    session: Session,
    uri: Annotated[str, typer.Argument(help="Its folder: a path or a URL, as the platform reads it.")],
    digest: Annotated[str, typer.Option(help="sha256:… that it must have.")] = "",
) -> None:
    """Register an adapter that was trained elsewhere; no gate has seen it."""
    request = pb.ImportAdapterRequest(uri=uri, digest=digest)
    adapter = session.gateway.call(session.gateway.registry.ImportAdapter, request, IMPORT_SECONDS).adapter
    session.output.show({"adapter": _shown(adapter)}, lambda: f"adapter {adapter.digest} is registered")


def promote(
    session: Session,
    alias: Alias,
    digest: Target,
    at: Expected = None,
    cleared: Cleared = False,
    override: Override = False,
    reason: Reason = "",
) -> None:
    """Point an alias at an adapter, from the next answer on."""
    request = pb.PromoteAdapterRequest(
        alias=alias,
        digest=_target(session, digest),
        expected_revision=at,
        cleared=cleared,
        override=override,
        reason=reason,
    )
    _say(session, session.gateway.call(session.gateway.registry.PromoteAdapter, request).alias)


def canary(
    session: Session,
    alias: Alias,
    digest: Annotated[str, typer.Argument(help="What to try: a digest, or its beginning; none shows what is.")] = "",
    share: Annotated[float, typer.Option(help="Of conversations, 0.01 to 0.5.")] = 0.1,
    alpha: Annotated[float, typer.Option(help="Most probability of a wrong end, 0.0001 to 0.2.")] = 0.05,
    margin: Annotated[float, typer.Option(help="How much better it must be in good ratings, -0.5 to 0.5.")] = 0.0,
    error_rise: Annotated[float, typer.Option(help="How many more failed answers are borne, 0 to 1.")] = 0.02,
    ratings: Annotated[int, typer.Option(help="Of one rater so many ratings of each arm count.")] = 5,
    raters: Annotated[int, typer.Option(help="Different raters without whom nothing is promoted.")] = 3,
    conversations: Annotated[int, typer.Option(help="After so many of both arms the old one stays.")] = 20_000,
    days: Annotated[int, typer.Option(help="After so many the old one stays.")] = 14,
    end: Annotated[End | None, typer.Option(help="End the one that runs.")] = None,
    at: Expected = None,
    cleared: Cleared = False,
    override: Override = False,
    reason: Reason = "",
) -> None:
    """Try an adapter on a share of an alias's conversations until ratings decide; show, or end, what is tried."""
    if digest and end:
        raise Ambiguous("a canary is started or ended, not both")
    if digest:
        rule = pb.CanaryRule(
            alpha=alpha,
            margin=margin,
            max_error_rise=error_rise,
            max_ratings_per_rater=int32(ratings),
            min_raters=int32(raters),
            max_conversations=int32(conversations),
            max_days=int32(days),
        )
        request = pb.StartCanaryRequest(
            alias=alias,
            digest=_whole(session, digest),
            expected_revision=at,
            share=share,
            rule=rule,
            cleared=cleared,
            override=override,
            reason=reason,
        )
        session.gateway.call(session.gateway.registry.StartCanary, request)
    elif end is End.PROMOTE:
        promotion = pb.PromoteCanaryRequest(alias=alias, expected_revision=at, reason=reason)
        session.gateway.call(session.gateway.registry.PromoteCanary, promotion)
    elif end is End.STOP:
        stop = pb.StopCanaryRequest(alias=alias, expected_revision=at, reason=reason)
        session.gateway.call(session.gateway.registry.StopCanary, stop)
    found = session.gateway.call(session.gateway.registry.GetAlias, pb.GetAliasRequest(alias=alias))
    session.output.show(plain(found), lambda: views.alias(found))


def rollback(session: Session, alias: Alias, at: Expected = None, reason: Reason = "") -> None:
    """Point an alias at what it pointed at before its last promotion."""
    request = pb.RollbackAliasRequest(alias=alias, expected_revision=at, reason=reason)
    _say(session, session.gateway.call(session.gateway.registry.RollbackAlias, request).alias)


def aliases(session: Session) -> None:
    """List the aliases and what they point at."""
    pages = session.gateway.pages(session.gateway.registry.ListAliases, pb.ListAliasesRequest())
    found = [each for page in pages for each in page.aliases]
    session.output.show({"aliases": list(map(plain, found))}, lambda: views.aliases_table(found))


def history(session: Session, alias: Alias, limit: Limit = 20) -> None:
    """List an alias's moves, newest first."""
    pages = session.gateway.pages(session.gateway.registry.ListAliasHistory, pb.ListAliasHistoryRequest(alias=alias))
    found = list(islice((each for page in pages for each in page.moves), limit))
    session.output.show({"moves": list(map(plain, found))}, lambda: views.history_table(found))


def delete(
    session: Session,
    digest: Annotated[str, typer.Argument(help="The adapter's digest, or its beginning.")] = "",
    alias: Annotated[str, typer.Option(help="Take this alias away instead.")] = "",
    at: Expected = None,
) -> None:
    """Remove an adapter that no alias points at, or take an alias away."""
    if bool(digest) == bool(alias):
        raise Ambiguous("an adapter or an alias is to be removed")
    if alias:
        request = pb.DeleteAliasRequest(alias=alias, expected_revision=at)
        session.gateway.call(session.gateway.registry.DeleteAlias, request)
        session.output.show({"deleted_alias": alias}, lambda: f"alias {alias} is gone")
        return
    whole = _whole(session, digest)
    session.gateway.call(session.gateway.registry.DeleteAdapter, pb.DeleteAdapterRequest(digest=whole))
    session.output.show({"deleted": whole}, lambda: f"adapter {whole} is gone")


def load(
    session: Session,
    name: Annotated[str, typer.Argument(help="The adapter's name.")],
    uri: Annotated[str, typer.Argument(help="Its folder: a path or a URL.")],
) -> None:
    """Load a folder into one engine, to try it there; it is not registered, and gone after a restart."""
    request = generate_pb.LoadAdapterRequest(name=name, uri=uri)
    adapter = session.gateway.call(session.gateway.adapters.LoadAdapter, request, LOAD_SECONDS).adapter
    session.output.show({"adapter": plain(adapter)}, lambda: f"adapter {adapter.name} is loaded ({adapter.digest})")


def unload(session: Session, name: Annotated[str, typer.Argument(help="The adapter's name.")]) -> None:
    """Take what was loaded by hand out of the engine."""
    session.gateway.call(session.gateway.adapters.UnloadAdapter, generate_pb.UnloadAdapterRequest(name=name))
    session.output.show({"unloaded": name}, lambda: f"adapter {name} is unloaded")


def loaded(session: Session) -> None:
    """List what is in the engine."""
    pages = session.gateway.pages(session.gateway.adapters.ListAdapters, generate_pb.ListAdaptersRequest())
    rows = [plain(each) for page in pages for each in page.adapters]
    session.output.show({"adapters": rows}, lambda: table(rows, ("name", "digest", "rank", "base_model")))


def _say(session: Session, alias: pb.Alias) -> None:
    target = f"adapter {alias.digest}" if alias.digest else "the base model"
    said = f"alias {alias.alias} points at {target} (revision {alias.revision})"
    session.output.show({"alias": plain(alias)}, lambda: said)


def _shown(adapter: pb.Adapter) -> dict[str, Any]:
    """Return an adapter as JSON has it, its report's document among it."""
    shown = plain(adapter)
    if "report" in shown:
        shown["report"] |= {"document": views.document_of(adapter.report)}
    return shown


def _target(session: Session, digest: str) -> str:
    return "" if digest == BASE else _whole(session, digest)


def _whole(session: Session, beginning: str) -> str:
    digits = beginning.removeprefix("sha256:")
    found = [each.digest for each in _adapters(session) if each.digest.removeprefix("sha256:").startswith(digits)]
    if len(found) != 1 or len(digits) < MIN_DIGITS:
        raise UnknownAdapter(f"{len(found)} adapters' digests begin so", beginning=beginning)
    return found[0]


def _adapters(session: Session) -> Iterator[pb.Adapter]:
    pages = session.gateway.pages(session.gateway.registry.ListAdapters, pb.ListAdaptersRequest())
    return (each for page in pages for each in page.adapters)
