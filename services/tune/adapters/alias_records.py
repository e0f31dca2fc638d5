"""Aliases as records on the topic `adapters`."""

from tandem.tune.v1 import events_pb2

from services.common.bus import ADAPTERS, Record, key_of
from services.tune.domain.registry import Alias, Target


def alias_record(alias: Alias) -> Record:
    """Return the record that says where an alias points."""
    state = events_pb2.AliasState(
        tenant_id=alias.tenant_id, alias=alias.alias, revision=alias.revision, deleted=alias.deleted
    )
    state.changed_at.FromDatetime(alias.changed_at)
    if alias.live.digest:
        state.live.CopyFrom(_ref(alias.live))
    if canary := alias.canary:
        state.canary.CopyFrom(_ref(Target(canary.digest, canary.cleared, canary.subject)))
        state.canary_id, state.canary_share = canary.canary_id, canary.share
    return Record(ADAPTERS, key_of(alias.tenant_id, alias.alias), state.SerializeToString())


def _ref(target: Target) -> events_pb2.AdapterRef:
    return events_pb2.AdapterRef(digest=target.digest, cleared=target.cleared, owner=target.owner)
