"""Nothing that was acknowledged is lost, whatever dies."""

import contextlib
import signal
from pathlib import Path

import pytest
from tandem.ingest.v1 import ingest_service_pb2 as pb

from services.cli import parts
from tests.conftest import free_address, running, wait_for_port
from tests.integration.ingest.conftest import Client, Index, IngestProcess, create_database, eventually


class Broker:
    """An event log of our own, to be killed; it keeps its address and forgets the rest."""

    def __init__(self, folder: Path) -> None:
        self.address = free_address()
        self._log = folder / "broker.log"
        self._stack = contextlib.ExitStack()

    def start(self) -> None:
        self._process = self._stack.enter_context(running(parts.broker(self.address), self._log))
        wait_for_port(self.address, self._process)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def broker(tmp_path):
    broker = Broker(tmp_path)
    yield broker
    broker.close()


@pytest.fixture
def service(tmp_path, database_url, broker):
    environment = {
        "INGEST_DATABASE_URL": create_database(database_url),
        "INGEST_BUS": broker.address,
        "INGEST_REPUBLISH_SECONDS": "1",
    }
    process = IngestProcess(tmp_path, environment)
    yield process
    process.kill()


def pushed(count):
    documents = [pb.PushedDocument(external_id=f"d{number}", content=b"text") for number in range(count)]
    return pb.PushDocumentsRequest(source="apps", documents=documents)


def new_push_source(client):
    client(pb.CreateSourceRequest(name="apps", kind="push", push=pb.PushConfig()))


def all_indexed(client, count):
    return lambda: client.source("apps").counts == pb.SourceCounts(indexed=count, chunks=3 * count)


def wait_for_ids(index, ids):
    """Wait until a change of each of these documents was seen; repeats may be among them."""
    eventually(lambda: index.poll() is not None and {change.document_id for change in index.seen} == ids)


def test_an_emptied_broker_loses_no_change(broker, service):
    broker.start()
    service.start()
    client = Client(service.address, "t")
    new_push_source(client)
    client(pushed(30))
    index = Index(broker.address, "t")
    index.answer(*index.wait(30)[:10])
    eventually(lambda: client.source("apps").counts.indexed == 10)
    broker.kill()
    client(pb.DeleteDocumentsRequest(source="apps", external_ids=["d0"]))
    broker.start()
    index.forget()
    index.answer_until(all_indexed(client, 29))
    index.close()


def test_a_kill_between_commit_and_relay_loses_no_change(broker, service):
    service.start()
    client = Client(service.address, "t")
    new_push_source(client)
    client(pushed(30))
    service.kill()
    broker.start()
    service.start()
    client = Client(service.address, "t")
    index = Index(broker.address, "t")
    wait_for_ids(index, {row.document_id for row in client.documents().values()})
    index.close()


def test_what_changes_while_the_service_is_down_is_seen_when_it_is_back(broker, service, folder):
    broker.start()
    service.start()
    client = Client(service.address, "t")
    (folder / "a.md").write_text("alpha")
    (folder / "b.md").write_text("beta")
    client.files(folder, watch=True)
    eventually(lambda: len(client.documents()) == 2)
    service.kill()
    (folder / "a.md").write_text("alpha 2")
    (folder / "b.md").unlink()
    (folder / "c.md").write_text("gamma")
    service.start()
    client = Client(service.address, "t")
    rows = eventually(lambda: "c.md" in (found := client.documents()) and found["b.md"].version == 2 and found)
    assert rows["a.md"].version == 2
    assert rows["b.md"].state == pb.DOCUMENT_STATE_DELETING


def test_an_initial_sync_that_was_killed_is_finished_after_the_restart(broker, service, folder):
    broker.start()
    service.start()
    client = Client(service.address, "t")
    for number in range(400):
        (folder / f"{number}.md").write_text(f"document {number}")
    client.files(folder)
    service.kill()
    service.start()
    client = Client(service.address, "t")
    eventually(lambda: client.source().HasField("last_sync_at"))
    rows = client.documents()
    assert len(rows) == 400
    assert {row.version for row in rows.values()} == {1}
    index = Index(broker.address, "t")
    wait_for_ids(index, {row.document_id for row in rows.values()})
    index.close()


def test_a_restarted_database_is_waited_for(tmp_path, broker):
    import asyncio

    from services.cli import postgres
    from tests.conftest import _until_it_answers

    url = postgres.url_of(tmp_path / "data")
    service = IngestProcess(tmp_path, {"INGEST_DATABASE_URL": url, "INGEST_BUS": broker.address})
    client = Client(service.address, "t")
    broker.start()
    service.start()
    try:
        with running(parts.postgres(tmp_path / "data"), tmp_path / "postgres.log") as process:
            asyncio.run(_until_it_answers(url, process))
            new_push_source(client)
            process.kill()
            process.wait()
        with running(parts.postgres(tmp_path / "data"), tmp_path / "postgres.log") as process:
            asyncio.run(_until_it_answers(url, process))
            client(pushed(3))
            index = Index(broker.address, "t")
            index.answer_until(all_indexed(client, 3))
            index.close()
    finally:
        assert service.stop(signal.SIGTERM) == 0
