"""What an assistant and a request narrow a search to, together."""

from collections.abc import Collection
from datetime import UTC, datetime

from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from tandem.retrieve.v1.retrieve_service_pb2 import RetrieveFilter

from services.gateway.domain.assistants import InvalidAssistant, Narrowing, Scalar

_SCALARS = frozenset({"string_value", "number_value", "bool_value"})


def narrowing_of(wanted: RetrieveFilter) -> Narrowing:
    """Return what a filter of an assistant says.

    Raises:
        InvalidAssistant: it names sources, or holds values that are none; the facts name the field.
    """
    if wanted.sources:
        raise InvalidAssistant("an assistant's sources have a field of their own", field="filter.sources")
    return Narrowing(
        kinds=tuple(wanted.kinds),
        authors=tuple(wanted.authors),
        metadata=_metadata(wanted.metadata),
        changed_after=_moment(wanted, "changed_after"),
        changed_before=_moment(wanted, "changed_before"),
    )


def filter_of(narrowing: Narrowing) -> RetrieveFilter | None:
    """Return the filter that says what `narrowing` does; None where that is nothing."""
    if narrowing == Narrowing():
        return None
    wanted = RetrieveFilter(kinds=narrowing.kinds, authors=narrowing.authors)
    if narrowing.metadata:
        wanted.metadata.update(dict(narrowing.metadata))
    for name in ("changed_after", "changed_before"):
        if moment := getattr(narrowing, name):
            getattr(wanted, name).FromDatetime(moment)
    return wanted


def narrowed(narrowing: Narrowing, requested: RetrieveFilter) -> RetrieveFilter | None:
    """Return the filter that lets through what both do; None where nothing can be both.

    Sources are left as they are requested.
    """
    own, both = filter_of(narrowing), RetrieveFilter()
    both.CopyFrom(requested)
    if own is None:
        return both
    for name in ("kinds", "authors"):
        common = _common(getattr(own, name), getattr(both, name))
        if common is None:
            return None
        del getattr(both, name)[:]
        getattr(both, name).extend(common)
    if any(both.metadata.fields.get(key, value) != value for key, value in own.metadata.fields.items()):
        return None
    both.metadata.MergeFrom(own.metadata)
    _narrow_times(own, both)
    return both


def _common(own: Collection[str], requested: Collection[str]) -> list[str] | None:
    """Return the names in both, where an empty one has all; None where they share none."""
    if not (own and requested):
        return [*own, *requested]
    return [name for name in requested if name in own] or None


def _narrow_times(own: RetrieveFilter, both: RetrieveFilter) -> None:
    """Take the later beginning and the earlier end of the two."""
    if own.HasField("changed_after"):
        later = max(_key(own.changed_after), _key(both.changed_after)) if both.HasField("changed_after") else None
        both.changed_after.CopyFrom(_stamp(later) if later else own.changed_after)
    if own.HasField("changed_before"):
        sooner = min(_key(own.changed_before), _key(both.changed_before)) if both.HasField("changed_before") else None
        both.changed_before.CopyFrom(_stamp(sooner) if sooner else own.changed_before)


def _key(stamp: Timestamp) -> tuple[int, int]:
    return stamp.seconds, stamp.nanos


def _stamp(key: tuple[int, int]) -> Timestamp:
    return Timestamp(seconds=key[0], nanos=key[1])


def _metadata(struct: Struct) -> tuple[tuple[str, Scalar], ...]:
    found: list[tuple[str, Scalar]] = []
    for key, value in struct.fields.items():
        kind = value.WhichOneof("kind")
        if kind not in _SCALARS:
            raise InvalidAssistant("metadata is of texts, numbers and booleans", field="filter.metadata")
        found.append((key, getattr(value, kind)))
    return tuple(sorted(found))


def _moment(wanted: RetrieveFilter, field: str) -> datetime | None:
    if not wanted.HasField(field):  # type: ignore[arg-type] # a name that is checked where this is called
        return None
    stamp: Timestamp = getattr(wanted, field)
    try:
        return stamp.ToDatetime(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidAssistant("it is no time", field=f"filter.{field}") from error
