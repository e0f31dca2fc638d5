"""A search returns exactly what a simple oracle allows, whatever was granted, revoked, moved, deleted or killed."""

import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from tandem.gateway.v1 import directory_service_pb2 as directory_pb
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.ingest.v1 import ingest_service_pb2 as ingest_pb

from services.cli.state import Phase as UnitPhase
from tests.e2e.tenants import PATIENCE_SECONDS, POLL_SECONDS, Tenant
from tests.tandem_command import Tandem, kill_9

# `make nightly` asks for thousands.
STEPS = int(os.environ.get("TANDEM_ORACLE_STEPS", "240"))
STEPS_A_TENANT = 60
CHECK_EVERY = 6
FAULT_EVERY = 50

EVERYONE = "everyone"
SOURCES = ("wiki", "desk")
DOCUMENTS = tuple(f"d{number}" for number in range(8))
USERS = tuple(f"u{number}" for number in range(5))
STRANGER = "u-unknown"
GROUPS = tuple(f"g{number}" for number in range(5))
VICTIMS = ("retrieve", "ingest", "embed", "gateway", "milvus", "postgres", "broker")

pytestmark = pytest.mark.timeout(300 + 3 * STEPS)

user_ids, group_ids = st.sampled_from(USERS), st.sampled_from(GROUPS)
document_ids, source_names = st.sampled_from(DOCUMENTS), st.sampled_from(SOURCES)
members = st.lists(user_ids.map("user:{}".format) | group_ids.map("group:{}".format), max_size=4, unique=True)
readers = st.lists(
    user_ids.map("user:{}".format)
    | user_ids.map("user:{}@mail".format)
    | group_ids.map("group:{}".format)
    | st.just(EVERYONE),
    max_size=3,
    unique=True,
)


@dataclass
class Oracle:
    """Who may read what, by the rules as a person would say them."""

    owner: str
    # Of a document: its own readers, or none where it follows its source; and its newest version.
    documents: dict[tuple[str, str], tuple[tuple[str, ...], int]] = field(default_factory=dict)
    sources: dict[str, tuple[str, ...]] = field(default_factory=dict)
    groups: dict[str, set[str]] = field(default_factory=dict)
    with_alias: set[str] = field(default_factory=set)

    def principals(self, user: str) -> set[str]:
        found = {EVERYONE, f"user:{user}"} | ({f"user:{user}@mail"} if user in self.with_alias else set())
        while True:
            reached = {f"group:{name}" for name, inside in self.groups.items() if inside & found}
            if reached <= found:
                return found
            found |= reached

    def readable(self, principals: set[str]) -> dict[tuple[str, str], int]:
        """The documents that may be read, each with its newest version."""
        return {
            key: version
            for key, (own, version) in self.documents.items()
            if set(own or self.sources[key[0]] or (self.owner,)) & principals
        }


class Permissions(RuleBasedStateMachine):
    """Random people, nested groups, documents, grants, revocations, moves and deletions, with faults between."""

    tandem: Tandem

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self.version = 0
        self.chance = random.Random(STEPS)

    @initialize()
    def begin(self) -> None:
        self.client = Tenant(self.tandem, f"oracle-{time.time_ns()}")
        me = self.client.call(self.client.access.GetCaller, pb.GetCallerRequest())
        self.oracle = Oracle(owner=me.subject)
        for source in SOURCES:
            self.client.add_source(source, EVERYONE)
            self.oracle.sources[source] = (EVERYONE,)

    @rule(source=source_names, external_id=document_ids, own=readers)
    def push(self, source: str, external_id: str, own: list[str]) -> None:
        self.version += 1
        document = ingest_pb.PushedDocument(
            external_id=external_id,
            title=f"{source} {external_id} {self.version}",
            content=f"The oracle knows {external_id} of {source}, version {self.version}.".encode(),
            readers=own,
        )
        self.client.call(
            self.client.ingest.PushDocuments, ingest_pb.PushDocumentsRequest(source=source, documents=[document])
        )
        self.oracle.documents[source, external_id] = (tuple(own), self.version)

    @rule(source=source_names, external_id=document_ids)
    def delete(self, source: str, external_id: str) -> None:
        request = ingest_pb.DeleteDocumentsRequest(source=source, external_ids=[external_id])
        self.client.call(self.client.ingest.DeleteDocuments, request)
        self.oracle.documents.pop((source, external_id), None)

    @rule(external_id=document_ids, own=readers, there=st.booleans())
    def move(self, external_id: str, own: list[str], there: bool) -> None:
        before, after = SOURCES if there else SOURCES[::-1]
        if (before, external_id) in self.oracle.documents:
            self.delete(before, external_id)
            self.push(after, external_id, own)

    @rule(source=source_names, external_id=document_ids, own=readers)
    def grant_or_revoke(self, source: str, external_id: str, own: list[str]) -> None:
        change = ingest_pb.DocumentReaders(external_id=external_id, readers=own)
        request = ingest_pb.SetDocumentReadersRequest(source=source, documents=[change])
        self.client.call(self.client.ingest.SetDocumentReaders, request)
        if known := self.oracle.documents.get((source, external_id)):
            self.oracle.documents[source, external_id] = (tuple(own), known[1])

    @rule(source=source_names, wanted=readers)
    def change_source(self, source: str, wanted: list[str]) -> None:
        request = ingest_pb.SetSourceReadersRequest(source=source, readers=wanted)
        self.client.call(self.client.ingest.SetSourceReaders, request)
        self.oracle.sources[source] = tuple(wanted)

    @rule(group=group_ids, inside=members)
    def put_group(self, group: str, inside: list[str]) -> None:
        request = directory_pb.PutGroupsRequest(groups=[directory_pb.Group(group_id=group, members=inside)])
        self.client.call(self.client.directory.PutGroups, request)
        self.oracle.groups[group] = set(inside)

    @rule(group=group_ids, add=members, remove=members)
    def change_members(self, group: str, add: list[str], remove: list[str]) -> None:
        if group not in self.oracle.groups:
            self.put_group(group, add)
            return
        request = directory_pb.ChangeMembersRequest(group_id=group, add=add, remove=remove)
        self.client.call(self.client.directory.ChangeMembers, request)
        self.oracle.groups[group] = (self.oracle.groups[group] | set(add)) - set(remove)

    @rule(group=group_ids)
    def remove_group(self, group: str) -> None:
        self.client.call(self.client.directory.RemoveGroups, directory_pb.RemoveGroupsRequest(group_ids=[group]))
        self.oracle.groups.pop(group, None)
        for inside in self.oracle.groups.values():
            inside.discard(f"group:{group}")

    @rule(user=user_ids, alias=st.booleans())
    def put_user(self, user: str, alias: bool) -> None:
        entry = directory_pb.User(user_id=user, aliases=[f"{user}@mail"] if alias else [])
        self.client.call(self.client.directory.PutUsers, directory_pb.PutUsersRequest(users=[entry]))
        (self.oracle.with_alias.add if alias else self.oracle.with_alias.discard)(user)

    @rule(user=user_ids)
    def remove_user(self, user: str) -> None:
        self.client.call(self.client.directory.RemoveUsers, directory_pb.RemoveUsersRequest(user_ids=[user]))
        self.oracle.with_alias.discard(user)
        for inside in self.oracle.groups.values():
            inside.discard(f"user:{user}")

    def kill(self) -> None:
        victim = self.chance.choice(VICTIMS)
        before = self.tandem.unit(victim)
        kill_9(before.process.pid)
        self.tandem.wait(lambda: self.tandem.unit(victim).restarts > before.restarts)
        self.tandem.wait(lambda: all(unit.phase is UnitPhase.HEALTHY for unit in self.tandem.state().units))

    @invariant()
    def nobody_finds_what_they_may_not(self) -> None:
        if not hasattr(self, "oracle"):
            return
        self.steps += 1
        if self.steps % FAULT_EVERY == 0:
            self.kill()
        for user in self._askers():
            self._check_nothing_forbidden(user)
        if self.steps % CHECK_EVERY == 0:
            self._check_all_is_found()

    def teardown(self) -> None:
        if hasattr(self, "oracle"):
            self._check_all_is_found()

    def _askers(self) -> Iterator[str]:
        # The application by itself, somebody whom the directory does not know, one by an alias, and all.
        yield from ("", STRANGER, *USERS)
        yield from (f"{user}@mail" for user in sorted(self.oracle.with_alias)[:1])

    def _allowed(self, user: str) -> dict[tuple[str, str], int]:
        return self.oracle.readable(self.oracle.principals(user.removesuffix("@mail")) if user else {EVERYONE})

    def _check_nothing_forbidden(self, user: str) -> dict[tuple[str, str], set[int]]:
        found: dict[tuple[str, str], set[int]] = {}
        for passage in self.client.search("oracle", self.client.for_user(user) if user else self.client.application):
            source, external_id, version = passage.title.split()
            found.setdefault((source, external_id), set()).add(int(version))
        assert found.keys() <= self._allowed(user).keys(), f"{user or 'the application'} finds what it may not"
        return found

    def _check_all_is_found(self) -> None:
        """Wait until the index has caught up; meanwhile, too, nothing forbidden is found."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        for user in self._askers():
            wanted = {key: {version} for key, version in self._allowed(user).items()}
            while (found := self._check_nothing_forbidden(user)) != wanted:
                assert time.monotonic() < deadline, (user, wanted, found)
                time.sleep(POLL_SECONDS)


def test_a_search_returns_exactly_what_the_oracle_allows(memory_platform: Tandem):
    machine = type("PermissionsOfThisPlatform", (Permissions,), {"tandem": memory_platform})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=max(1, STEPS // STEPS_A_TENANT),
            stateful_step_count=STEPS_A_TENANT,
            deadline=None,
            # A failure is shown as it came: trying it again would take another tenant each time.
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        ),
    )
