"""A gateway for evaluations, and the command that calls it."""

import json
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from click.testing import Result
from tandem.feedback.v1 import feedback_service_pb2_grpc
from tandem.gateway.v1 import gateway_service_pb2_grpc
from tandem.generate.v1 import generate_service_pb2_grpc
from tandem.ingest.v1 import ingest_service_pb2_grpc
from tandem.retrieve.v1 import tuning_service_pb2_grpc
from tandem.tune.v1 import evaluation_service_pb2_grpc, registry_service_pb2_grpc
from typer.testing import CliRunner

from services.cli.app import build_app
from services.cli.session import Program
from tests.unit.cli.evaluation.platform import (
    KnownAdapters,
    KnownAnswers,
    KnownAssistants,
    KnownDocuments,
    KnownRatings,
    KnownRegistry,
    KnownSets,
    KnownTunings,
)


class Platform:
    """A gateway, and the command that calls it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.verb = "eval"
        self.environment: dict[str, str] = {}
        self.adapters = KnownAdapters()
        self.answers = KnownAnswers()
        self.documents = KnownDocuments()
        self.ratings = KnownRatings()
        self.registry = KnownRegistry()
        self.assistants = KnownAssistants()
        self.sets = KnownSets()

    def __call__(self, *arguments: str) -> Result:
        app = build_app(Program(("false",), lambda *_: pytest.fail("nothing is started"), self.environment))
        environment = {"TANDEM_ADDRESS": self.address, "TANDEM_API_KEY": "a key", "TANDEM_HOME": "/nowhere"}
        return CliRunner(env=environment).invoke(app, [self.verb, *arguments])

    def json(self, *arguments: str) -> dict[str, Any]:
        done = self(*arguments, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.output)

    def error(self, *arguments: str) -> dict[str, Any]:
        done = self(*arguments, "--json")
        assert done.exit_code == 1, done.output
        return json.loads(done.output)["error"]


@pytest.fixture
def platform() -> Iterator[Platform]:
    server = grpc.server(futures.ThreadPoolExecutor(4))
    known = Platform(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    gateway_service_pb2_grpc.add_GatewayServiceServicer_to_server(known.answers, server)
    gateway_service_pb2_grpc.add_AssistantServiceServicer_to_server(known.assistants, server)
    ingest_service_pb2_grpc.add_IngestServiceServicer_to_server(known.documents, server)
    feedback_service_pb2_grpc.add_FeedbackServiceServicer_to_server(known.ratings, server)
    tuning_service_pb2_grpc.add_TuningServiceServicer_to_server(KnownTunings(), server)
    evaluation_service_pb2_grpc.add_EvaluationServiceServicer_to_server(known.sets, server)
    generate_service_pb2_grpc.add_AdapterServiceServicer_to_server(known.adapters, server)
    registry_service_pb2_grpc.add_RegistryServiceServicer_to_server(known.registry, server)
    server.start()
    yield known
    server.stop(0)
