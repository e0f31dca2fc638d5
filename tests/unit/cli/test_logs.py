"""Logs: whole lines, as they come, across rotation."""

from services.cli import logs
from services.cli.logs import Tail, fields_of, last_lines, poll, pretty


def test_a_tail_gives_each_whole_line_once(tmp_path):
    path = tmp_path / "a.log"
    tail = Tail(path)
    assert list(tail.lines()) == []
    path.write_text("one\ntwo\nhal")
    assert list(tail.lines()) == ["one", "two"]
    assert list(tail.lines()) == []
    path.open("a").write("f\n")
    assert list(tail.lines()) == ["half"]


def test_a_tail_goes_on_in_the_new_file_after_a_rotation(tmp_path):
    path = tmp_path / "a.log"
    path.write_text("old\n")
    tail = Tail(path)
    assert list(tail.lines()) == ["old"]
    path.rename(tmp_path / "a.log.1")
    path.write_text("new and longer\n")
    assert list(tail.lines()) == ["new and longer"]


def test_a_line_longer_than_a_chunk_is_not_waited_for(tmp_path):
    path = tmp_path / "a.log"
    path.write_text("x" * (logs.CHUNK_BYTES + 10) + "\nnext\n")
    assert [len(line) for line in Tail(path).lines()] == [logs.CHUNK_BYTES, 10, 4]


def test_the_last_lines_of_a_log(tmp_path):
    path = tmp_path / "a.log"
    path.write_text("".join(f"{number}\n" for number in range(10)))
    assert list(last_lines(path, 3).lines()) == ["7", "8", "9"]
    assert list(last_lines(path, 0).lines()) == []
    assert len(list(last_lines(path, 100).lines())) == 10
    assert list(last_lines(tmp_path / "missing.log", 5).lines()) == []


def test_lines_become_objects_whatever_they_are():
    assert fields_of("a", '{"event": "e", "n": 1}') == {"service": "a", "event": "e", "n": 1}
    for line in ("plain text", "[1]", "{broken", ""):
        assert fields_of("a", line) == {"service": "a", "message": line}


def test_people_see_time_service_event_and_facts():
    line = '{"event": "rpc_finished", "level": "info", "timestamp": "2026-01-02T03:04:05.6Z", "code": "OK"}'
    assert pretty(fields_of("gateway", line)).plain.split() == ["03:04:05", "gateway", "rpc_finished", "code=OK"]
    assert pretty(fields_of("milvus", "text \x1b[31mred")).plain.split() == ["milvus", "text", "[31mred"]


def test_many_logs_are_polled_together(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.log").write_text(f"of {name}\n")
    tails = {name: Tail(tmp_path / f"{name}.log") for name in ("a", "b")}
    assert [(line["service"], line["message"]) for line in poll(tails)] == [("a", "of a"), ("b", "of b")]
