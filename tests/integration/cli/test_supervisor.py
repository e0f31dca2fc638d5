"""The supervisor with the real parts and dummy services: starts, restarts, recovers, and leaves nothing."""

import signal
import socket
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.cli import processes
from services.cli.state import Phase
from tests.tandem_command import Tandem, kill_9, last_json


def serves(address: str) -> bool:
    with grpc.insecure_channel(address) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
    return answer.status == health_pb2.HealthCheckResponse.SERVING


def test_a_detached_platform_is_healthy_when_up_returns(running: Tandem):
    state = running.state()
    assert state.phase is Phase.HEALTHY
    assert [unit.name for unit in state.units] == ["broker", "milvus", "postgres", "ingest", "generate", "gateway"]
    assert serves(state.gateway)
    assert last_json(running.run("status", "--json").stdout)["phase"] == "healthy"
    shown = running.run("status")
    assert (shown.returncode, shown.stdout.count("healthy")) == (0, 6)


def test_only_their_owner_reads_the_secrets(running: Tandem):
    root = running.home.root
    assert [oct((root / name).stat().st_mode & 0o777) for name in ("identity.key", "credentials.json")] == ["0o600"] * 2
    credentials = running.home.credentials()
    assert credentials is not None
    assert credentials.secret == "the secret"


def test_a_second_up_is_refused_and_harms_nothing(running: Tandem):
    before = running.state()
    for arguments in (("up", "--free-ports"), ("up", "--free-ports", "--detach")):
        refused = running.run(*arguments, "--json")
        assert refused.returncode == 1
        assert last_json(refused.stdout)["error"]["reason"] == "ALREADY_RUNNING"
        assert str(before.supervisor.pid) in last_json(refused.stdout)["error"]["message"]
    assert running.state() == before


def test_logs_are_read_by_service_and_followed(running: Tandem):
    lines = running.run("logs", "ingest", "--json").stdout.splitlines()
    assert {last_json(line)["service"] for line in lines} == {"ingest"}
    assert "serving" in {last_json(line).get("event") for line in lines}
    assert "serving" in running.run("logs", "ingest").stdout
    unknown = running.run("logs", "nothing", "--json")
    assert last_json(unknown.stdout)["error"]["reason"] == "NO_SUCH_LOG"

    following = running.start("logs", "ingest", "--follow", "--lines", "1", "--json")
    try:
        assert following.stdout is not None
        assert last_json(following.stdout.readline())["service"] == "ingest"
        kill_9(running.unit("ingest").process.pid)
        assert last_json(following.stdout.readline())["service"] == "ingest"
        running.wait(lambda: running.unit("ingest").restarts and running.unit("ingest").phase is Phase.HEALTHY)
    finally:
        following.kill()
        following.communicate()


def test_what_is_killed_is_started_again_without_its_orphans(running: Tandem):
    for name in ("generate", "broker", "postgres"):
        before = running.unit(name)
        orphans = {each.pid for each in processes.family(processes.find(before.process))[1:]}
        kill_9(before.process.pid)
        running.wait(lambda name=name: running.unit(name).restarts and running.unit(name).phase is Phase.HEALTHY)
        assert running.unit(name).process != before.process
        assert not orphans & {each.pid for each in running.living()}
    assert running.unit("generate").last_exit == "killed by SIGKILL"
    assert orphans


def test_after_a_killed_supervisor_up_ends_what_is_left_and_starts_on_the_same_data(tandem: Tandem):
    first = tandem.up()
    kill_9(first.supervisor.pid)
    tandem.wait(lambda: processes.find(first.supervisor) is None)
    left = {each.pid for each in tandem.living()}
    assert left
    assert tandem.run("status").returncode == 1
    cluster, key = (tandem.home.data / "postgres").stat().st_ino, tandem.home.identity_key()

    second = tandem.up()
    assert second.phase is Phase.HEALTHY
    assert not left & {each.pid for each in tandem.living()}
    assert ((tandem.home.data / "postgres").stat().st_ino, tandem.home.identity_key()) == (cluster, key)

    assert last_json(tandem.run("down", "--json").stdout) == {"stopped": True, "left_processes": 0}
    assert not tandem.living()
    assert "nothing was running" in tandem.run("down").stdout


def test_down_ends_what_a_killed_supervisor_left(tandem: Tandem):
    first = tandem.up()
    kill_9(first.supervisor.pid)
    tandem.wait(lambda: processes.find(first.supervisor) is None)
    down = last_json(tandem.run("down", "--json").stdout)
    assert not down["stopped"]
    assert down["left_processes"] > 0
    assert not tandem.living()


def test_a_signal_stops_everything_in_the_foreground(tandem: Tandem):
    process = tandem.start("up", "--free-ports")
    tandem.wait_until_healthy()
    before = tandem.unit("ingest")
    kill_9(before.process.pid)
    tandem.wait(lambda: tandem.unit("ingest").restarts > before.restarts)
    tandem.wait_until_healthy()
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    _, _, followed = output.partition("The gateway is at")
    assert "unit_died" in followed
    assert not tandem.living()
    assert tandem.state().phase is Phase.STOPPED


def test_a_signal_in_the_middle_of_the_start_leaves_nothing(tandem: Tandem):
    process = tandem.start("up", "--free-ports")
    tandem.wait(lambda: bool(tandem.living()))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert not tandem.living()
    assert tandem.up().phase is Phase.HEALTHY


def test_a_service_that_cannot_start_is_named_with_the_end_of_its_log(tandem: Tandem):
    failed = tandem.run("up", "--free-ports", "--json", DUMMY_BREAKS="1")
    assert failed.returncode == 1
    error = last_json(failed.stdout)["error"]
    assert error["reason"] == "UNIT_DOES_NOT_START"
    assert "this dummy does not want to start" in error["message"]
    assert not tandem.living()


def test_a_port_that_is_taken_is_named_with_who_holds_it(tandem: Tandem):
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        refused = tandem.run("up", "--port-base", str(taken - 3), "--json")
    error = last_json(refused.stdout)["error"]
    assert refused.returncode == 1
    assert error["reason"] == "PORTS_TAKEN"
    assert f"port {taken} (retrieve) is held by" in error["message"]
    assert str(Path("/proc/self").resolve().name) in error["message"]
    assert not tandem.living()
