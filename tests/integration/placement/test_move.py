"""A tenant moves while it is searched and written: nothing is missed, nothing deleted is shown, and nothing is left."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from tandem.erasure.v1 import erasure_service_pb2
from tandem.ingest.v1 import ingest_service_pb2
from tandem.ingest.v1 import placement_service_pb2 as pb

from tests.integration.ingest.conftest import failure_of
from tests.integration.placement.conftest import Platform

pytestmark = pytest.mark.timeout(240)

WAIT_SECONDS = 90
STABLE = {f"stable-{number}": f"What never changes is marble{number}." for number in range(30)}
DOOMED = {f"doomed-{number}": f"What will be gone is thunder{number}." for number in range(10)}
CHANGING = {f"changing-{number}": f"What is edited is lantern{number} at first." for number in range(10)}


def eventually(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError("it never became true")


def is_quiet(platform: Platform) -> bool:
    indexed = ingest_service_pb2.DOCUMENT_STATE_INDEXED
    return all(document.state == indexed for document in platform.documents().values())


def is_settled(platform: Platform) -> bool:
    return platform.placement().state == pb.MOVE_STATE_SETTLED


class Searcher:
    """Searches without a pause, and keeps what was wrong with an answer."""

    def __init__(self, platform: Platform, tolerated: tuple[grpc.StatusCode, ...]) -> None:
        self._platform = platform
        self._tolerated = tolerated
        self._stop = threading.Event()
        self.gone: set[str] = set()
        self.wrong: list[str] = []
        self.answered = 0

    def run(self) -> None:
        while not self._stop.is_set():
            for number in range(10):
                self._look(f"marble{number}", f"stable-{number}")
                self._look(f"thunder{number}", "")
                self._look(f"lantern{number}", f"changing-{number}")

    def _look(self, query: str, expected: str) -> None:
        gone = set(self.gone)
        try:
            found = self._platform.search(query)
        except grpc.RpcError as error:
            if error.code() not in self._tolerated:
                self.wrong.append(f"{query}: {error.code()} {error.details()}")
            return
        self.answered += 1
        if expected and expected not in found:
            self.wrong.append(f"{query} finds no {expected} but {sorted(found)}")
        if shown := gone & set(found):
            self.wrong.append(f"{query} shows {shown}, which is deleted")

    @contextlib.contextmanager
    def running(self) -> Iterator["Searcher"]:
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()


@pytest.mark.parametrize("killed", [(), ("embed", "ingest")], ids=["in peace", "under kill -9"])
def test_a_search_during_a_move_misses_nothing_and_shows_nothing_deleted(platform, killed):
    platform.push(**STABLE, **DOOMED, **CHANGING)
    eventually(lambda: is_quiet(platform))
    tolerated = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED) if killed else ()
    with Searcher(platform, tolerated).running() as searcher:
        moved = platform.move("acme-own")
        assert (moved.place, moved.state, moved.other_place) == ("shared", pb.MOVE_STATE_COPYING, "acme-own")
        for number in range(10):
            platform.push(**{f"changing-{number}": f"What is edited is lantern{number} in the end."})
            platform.delete(f"doomed-{number}")
            if number == 3:
                # The copying has begun, and is not done.
                for name in killed:
                    platform.processes[name].kill()
            eventually(lambda number=number: f"doomed-{number}" not in platform.documents())
            searcher.gone.add(f"doomed-{number}")
        eventually(lambda: platform.placement().place == "acme-own")
        for name in killed:
            platform.processes[name].kill()
        platform.push(late="What comes late is harbour.")
        eventually(lambda: is_settled(platform))
        eventually(lambda: is_quiet(platform))
    assert searcher.wrong == []
    assert searcher.answered > 0
    assert platform.rows("shared") is None
    versions = {name: document.version for name, document in platform.documents().items()}
    assert platform.rows("acme-own") == versions
    assert versions.keys() == {*STABLE, *CHANGING, "late"}
    # The index was read row by row just now, and may take a breath.
    eventually(lambda: "in the end" in found(platform, "lantern4").get("changing-4", ""))


def found(platform, query):
    with contextlib.suppress(grpc.RpcError):
        return platform.search(query)
    return {}


def test_a_move_is_undone_before_its_turn_and_a_tenant_is_erased_wherever_it_is(platform):
    platform.push(**STABLE)
    eventually(lambda: is_quiet(platform))
    move = pb.MoveRequest(place="rivals-own")
    assert failure_of(lambda: platform(move)) == (grpc.StatusCode.NOT_FOUND, "PLACE_NOT_FOUND")
    platform.move("acme-own")
    assert platform.move("acme-own").state == pb.MOVE_STATE_COPYING
    back = platform.move("shared")
    assert (back.place, back.state, back.other_place) == ("shared", pb.MOVE_STATE_EMPTYING, "acme-own")
    again = pb.MoveRequest(place="acme-own")
    assert failure_of(lambda: platform(again)) == (grpc.StatusCode.FAILED_PRECONDITION, "MOVE_UNDER_WAY")
    eventually(lambda: is_settled(platform))
    eventually(lambda: is_quiet(platform))
    assert platform.rows("acme-own") is None
    assert platform.rows("shared").keys() == STABLE.keys()
    whole = erasure_service_pb2.EraseRequest(whole_tenant={})
    erased = platform(whole)
    assert [(one.kind, one.count, erased.done) for one in erased.removed] == [("chunks", len(STABLE), True)]
    assert platform.rows("shared") is None
    assert platform(whole) == erasure_service_pb2.EraseResponse(done=True)
    person = erasure_service_pb2.EraseRequest(person={"principals": ["user:ada"]})
    assert platform(person) == erasure_service_pb2.EraseResponse(done=True)
