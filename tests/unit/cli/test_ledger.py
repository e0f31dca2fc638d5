"""The verbs of the audit log and of erasures, against a gateway that gives fixed answers."""

import json
from concurrent import futures

import grpc
import pytest
from tandem.erasure.v1.erasure_service_pb2 import Removed
from tandem.gateway.v1 import audit_service_pb2, audit_service_pb2_grpc, erasure_service_pb2, erasure_service_pb2_grpc
from typer.testing import CliRunner

from services.cli.app import build_app
from services.cli.plan import local
from services.cli.session import Program


class Fixed(audit_service_pb2_grpc.AuditServiceServicer, erasure_service_pb2_grpc.ErasureServiceServicer):
    def __init__(self) -> None:
        self.asked: list[object] = []

    def ListAuditEvents(self, request, context):
        self.asked.append(request)
        return audit_service_pb2.ListAuditEventsResponse(events=[self._event(2), self._event(1)])

    def ExportAuditEvents(self, request, context):
        self.asked.append(request)
        for number in (1, 2):
            yield audit_service_pb2.ExportAuditEventsResponse(event=self._event(number))

    def EraseUser(self, request, context):
        self.asked.append(request)
        return erasure_service_pb2.EraseUserResponse(erasure=self._erasure(1))

    def EraseTenant(self, request, context):
        self.asked.append(request)
        return erasure_service_pb2.EraseTenantResponse(erasure=self._erasure(1))

    def WatchErasure(self, request, context):
        for state in (1, 2):
            yield erasure_service_pb2.WatchErasureResponse(erasure=self._erasure(state))

    def ListErasures(self, request, context):
        return erasure_service_pb2.ListErasuresResponse(erasures=[self._erasure(2)])

    def _event(self, number: int) -> audit_service_pb2.AuditEvent:
        given = audit_service_pb2.GivenPassage(chunk_id="c", document_id="doc-7", document_version=3)
        event = audit_service_pb2.AuditEvent(
            event_id=number, kind=2, subject="user:ada", rpc="/x/Ask", passages=[given]
        )
        event.at.FromJsonString("2026-11-24T12:00:00Z")
        return event

    def _erasure(self, state: int) -> erasure_service_pb2.Erasure:
        removed = [Removed(kind="documents", count=12)] if state == 2 else []
        return erasure_service_pb2.Erasure(
            erasure_id="e1", state=state, user_id="ada", removed=removed, stale_adapters=["support"]
        )


@pytest.fixture
def fixed() -> Fixed:
    return Fixed()


@pytest.fixture
def tandem(fixed, tmp_path):
    """Run the command and return its result."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    audit_service_pb2_grpc.add_AuditServiceServicer_to_server(fixed, server)
    erasure_service_pb2_grpc.add_ErasureServiceServicer_to_server(fixed, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    app = build_app(Program(("tandem",), local, {}))
    shared = ["--address", f"127.0.0.1:{port}", "--api-key", "k", "--home", str(tmp_path)]

    def run(*words: str, typed: str = ""):
        return CliRunner().invoke(app, [*words, *shared], input=typed)

    yield run
    server.stop(None)


def test_the_audit_log_is_listed_under_its_filters(tandem, fixed):
    done = tandem("audit", "list", "--subject", "user:ada", "--kind", "passages-given", "--after", "2026-11-24")
    assert done.exit_code == 0
    assert "doc-7@3" in done.stdout
    assert (fixed.asked[0].filter.subject, fixed.asked[0].filter.kind) == ("user:ada", 2)
    assert fixed.asked[0].filter.after.ToJsonString() == "2026-11-24T00:00:00Z"


def test_an_export_is_a_line_of_json_an_event(tandem):
    events = [json.loads(line) for line in tandem("audit", "export", "--document", "doc-7").stdout.splitlines()]
    assert [event["event_id"] for event in events] == [1, 2]
    assert events[0]["passages"][0]["document_id"] == "doc-7"


def test_a_kind_that_there_is_not_is_a_failure(tandem):
    assert tandem("audit", "list", "--kind", "rumour").exit_code == 1


def test_an_erased_user_is_watched_to_the_report(tandem, fixed):
    done = tandem("erase", "user", "ada")
    assert done.exit_code == 0
    assert fixed.asked[0].user_id == "ada"
    assert all(word in done.stdout for word in ("done", "documents", "12", "support", "audit log"))


def test_a_tenant_is_erased_only_under_its_name(tandem, fixed):
    assert tandem("erase", "tenant", "acme", typed="amce\n").exit_code == 1
    assert not fixed.asked
    done = tandem("erase", "tenant", "acme", "--json", typed="acme\n")
    assert done.exit_code == 0
    assert fixed.asked[0].confirmation == "acme"
    assert json.loads(done.stdout.splitlines()[-1])["erasure"]["removed"] == [{"kind": "documents", "count": 12}]


def test_erasures_are_listed(tandem):
    assert json.loads(tandem("erase", "list", "--json").stdout)["erasures"][0]["state"] == "done"
