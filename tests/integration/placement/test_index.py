"""A second index is built beside the live one: searches miss nothing, changes reach both, and nothing is left."""

import time

import grpc
import pytest
from tandem.erasure.v1 import erasure_service_pb2
from tandem.ingest.v1 import index_service_pb2 as pb

from tests.integration.ingest.conftest import failure_of
from tests.integration.placement.conftest import MODEL_NAME, SECOND_MODEL
from tests.integration.placement.test_move import (
    CHANGING,
    DOOMED,
    STABLE,
    Searcher,
    eventually,
    found,
    is_quiet,
    is_settled,
)

pytestmark = pytest.mark.timeout(300)


def is_in(platform, state):
    return platform.index().state == state


def versions_of(platform):
    return {name: document.version for name, document in platform.documents().items()}


def switch(platform, **fields):
    return platform(pb.SwitchIndexRequest(**fields)).index


@pytest.mark.parametrize("killed", [(), ("embed", "ingest")], ids=["in peace", "under kill -9"])
def test_a_search_during_a_build_and_a_switch_misses_nothing_and_shows_nothing_deleted(platform, killed):
    platform.push(**STABLE, **DOOMED, **CHANGING)
    eventually(lambda: is_quiet(platform))
    tolerated = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED) if killed else ()
    with Searcher(platform, tolerated).running() as searcher:
        index = platform.build(model=SECOND_MODEL, languages=["fr"], chunk_tokens=100)
        assert (index.state, index.live_key, index.other.model) == (pb.INDEX_STATE_BUILDING, MODEL_NAME, SECOND_MODEL)
        # Started twice: the same is no other one, and another one waits.
        assert platform.build(model=SECOND_MODEL, languages=["fr"], chunk_tokens=100).other_key == index.other_key
        other = pb.BuildIndexRequest(config={"chunk_tokens": 80})
        assert failure_of(lambda: platform(other)) == (grpc.StatusCode.FAILED_PRECONDITION, "INDEX_BUILD_UNDER_WAY")
        for number in range(10):
            platform.push(**{f"changing-{number}": f"What is edited is lantern{number} in the end."})
            platform.delete(f"doomed-{number}")
            if number == 3:
                # The build has begun, and is not done.
                for name in killed:
                    platform.processes[name].kill()
            eventually(lambda number=number: f"doomed-{number}" not in platform.documents())
            searcher.gone.add(f"doomed-{number}")
        ready = eventually(lambda: is_in(platform, pb.INDEX_STATE_READY) and platform.index())
        assert (ready.done, ready.failed, ready.live_key) == (ready.documents, 0, MODEL_NAME)
        eventually(lambda: is_quiet(platform))
        assert platform.rows("shared", index.other_key) == platform.rows("shared") == versions_of(platform)
        turned = switch(platform)
        assert (turned.state, turned.live_key, turned.other_key) == (pb.INDEX_STATE_KEPT, index.other_key, MODEL_NAME)
        assert switch(platform) == turned
        for name in killed:
            platform.processes[name].kill()
        platform.push(late="What comes late is harbour.")
        platform.delete("stable-29")
        searcher.gone.add(eventually(lambda: "stable-29" not in platform.documents() and "stable-29"))
        eventually(lambda: is_quiet(platform))
    assert searcher.wrong == []
    assert searcher.answered > 0
    # The index that is kept has all that came since.
    assert platform.rows("shared") == platform.rows("shared", index.other_key) == versions_of(platform)
    eventually(lambda: "late" in found(platform, "harbour"))
    back = platform(pb.RevertIndexRequest()).index
    assert (back.state, back.live_key, back.other_key) == (pb.INDEX_STATE_READY, MODEL_NAME, index.other_key)
    eventually(lambda: "late" in found(platform, "harbour"))
    platform(pb.DropIndexRequest())
    eventually(lambda: is_in(platform, pb.INDEX_STATE_SETTLED))
    assert platform.rows("shared", index.other_key) is None
    assert platform.rows("shared") == versions_of(platform)


def test_what_cannot_be_is_refused_by_name_and_a_build_is_cancelled(platform):
    platform.push(**STABLE)
    eventually(lambda: is_quiet(platform))
    for request, refused in [
        (pb.SwitchIndexRequest(), (grpc.StatusCode.FAILED_PRECONDITION, "INDEX_NOT_READY")),
        (pb.RevertIndexRequest(), (grpc.StatusCode.FAILED_PRECONDITION, "INDEX_NOT_KEPT")),
        (pb.BuildIndexRequest(), (grpc.StatusCode.INVALID_ARGUMENT, "INDEX_SAME")),
        (pb.BuildIndexRequest(config={"model": "unheard-of"}), (grpc.StatusCode.INVALID_ARGUMENT, "MODEL_UNKNOWN")),
        (
            pb.BuildIndexRequest(config={"languages": ["xx"]}),
            (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INDEX_CONFIG"),
        ),
        (
            pb.BuildIndexRequest(config={"chunk_tokens": 4000}),
            (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INDEX_CONFIG"),
        ),
    ]:
        assert failure_of(lambda request=request: platform(request)) == refused
    assert failure_of(lambda: platform.search("marble1", other=True)) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "NO_OTHER_INDEX",
    )
    assert platform(pb.DropIndexRequest()).index.state == pb.INDEX_STATE_SETTLED
    key = platform.build(languages=["en"]).other_key
    eventually(lambda: is_in(platform, pb.INDEX_STATE_READY))
    eventually(lambda: "stable-1" in platform.search("marble1", other=True))
    assert platform(pb.DropIndexRequest()).index.state == pb.INDEX_STATE_DROPPING
    again = pb.BuildIndexRequest(config={"languages": ["en"]})
    assert failure_of(lambda: platform(again)) == (grpc.StatusCode.FAILED_PRECONDITION, "INDEX_BUILD_UNDER_WAY")
    eventually(lambda: is_in(platform, pb.INDEX_STATE_SETTLED))
    assert platform.rows("shared", key) is None
    assert platform.rows("shared").keys() == STABLE.keys()


def test_a_tenant_moves_while_an_index_is_built_and_is_erased_with_all_its_indexes(platform):
    platform.push(**STABLE, **CHANGING)
    eventually(lambda: is_quiet(platform))
    with Searcher(platform, ()).running() as searcher:
        key = platform.build(chunk_tokens=100).other_key
        platform.move("acme-own")
        platform.push(**{"changing-1": "What is edited is lantern1 in the end."})
        eventually(lambda: is_settled(platform) and is_in(platform, pb.INDEX_STATE_READY))
        eventually(lambda: is_quiet(platform))
        switch(platform)
        time.sleep(1)
    assert searcher.wrong == []
    assert platform.rows("shared") is None
    assert platform.rows("shared", key) is None
    assert platform.rows("acme-own") == platform.rows("acme-own", key) == versions_of(platform)
    erased = platform(erasure_service_pb2.EraseRequest(whole_tenant={}))
    assert [one.count for one in erased.removed] == [2 * len(STABLE | CHANGING)]
    assert platform.rows("acme-own") is None
    assert platform.rows("acme-own", key) is None
