"""Whom a verb trusts: the home's authority at home, the system's or a given one elsewhere, never plaintext there."""

import contextlib
from concurrent import futures

import grpc
import pytest
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.gateway.v1 import gateway_service_pb2_grpc as rpc

from services.cli.authority import paths_of, renew
from services.cli.errors import NotTrusted, failure_of
from services.cli.gateway import Caller
from services.cli.home import Home
from services.cli.output import Output
from services.cli.session import Program, Session, Trust
from services.cli.state import Phase, PlatformState


class Answering(rpc.GatewayServiceServicer):
    def Search(self, request, context):
        return pb.SearchResponse()


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "home")
    home.prepare()
    renew(home)
    return home


@pytest.fixture
def address(home):
    """A gateway that shows the home's certificate."""
    paths = paths_of(home)
    server = grpc.server(futures.ThreadPoolExecutor(2))
    rpc.add_GatewayServiceServicer_to_server(Answering(), server)
    pair = (paths.key.read_bytes(), paths.certificate.read_bytes())
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def searching(home, address="", **trust):
    program = Program((), lambda *_: pytest.fail("nothing is started"), {})
    session = Session(program, home, Output(as_json=True), address, Caller("key"), Trust(**trust))
    try:
        return session.gateway.call(session.gateway.answers.Search, pb.SearchRequest(), 10)
    finally:
        session.close()


def test_at_home_the_home_s_authority_is_trusted(home, address):
    home.keep_state(PlatformState(Phase.HEALTHY, address, None, (), tls=True))
    assert searching(home) == pb.SearchResponse()


def test_elsewhere_a_given_authority_is_trusted(tmp_path, home, address):
    other = Home(tmp_path / "other")
    assert searching(other, address, authority=paths_of(home).authority) == pb.SearchResponse()


def test_a_gateway_of_another_authority_is_told_from_one_that_is_away(tmp_path, address):
    other = Home(tmp_path / "other")
    renew(other)
    with pytest.raises(grpc.RpcError) as raised:
        searching(other, address, authority=paths_of(other).authority)
    assert isinstance(failure_of(raised.value, address), NotTrusted)


def test_elsewhere_plaintext_is_spoken_only_where_it_is_allowed(home):
    with serving_plaintext() as address:
        by_name = f"ipv4:{address},10.255.255.1:1"
        with pytest.raises(grpc.RpcError):
            searching(home, by_name)
        assert searching(home, by_name, allow_plaintext=True) == pb.SearchResponse()


@contextlib.contextmanager
def serving_plaintext():
    """A gateway without TLS."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    rpc.add_GatewayServiceServicer_to_server(Answering(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()
