"""A judge for tests: a server that speaks the chat completions API over real HTTP, and decides by a function."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Decide = Callable[[dict[str, Any]], str]


def by_references(asked: dict[str, Any]) -> str:
    """Prefer the answer that holds a reference."""
    right = [any(each in asked[side] for each in asked["references"]) for side in "AB"]
    return "tie" if right[0] == right[1] else "A" if right[0] else "B"


class FakeJudge:
    """Says what `decide` says; `statuses` are answered first, and `content` replaces what a verdict looks like."""

    def __init__(self) -> None:
        self.decide: Decide = by_references
        self.statuses: list[int] = []
        self.content: Callable[[str], str] = lambda better: json.dumps({"better": better})
        self.asked: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self.url = ""
        self.lock = threading.Lock()

    def answer(self, key: str, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        asked = json.loads(request["messages"][1]["content"])
        with self.lock:
            self.keys.add(key)
            self.requests.append(request)
            self.asked.append(asked)
            status = self.statuses.pop(0) if self.statuses else 200
        message = {"role": "assistant", "content": self.content(self.decide(asked))}
        return status, {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


@contextlib.contextmanager
def serving() -> Iterator[FakeJudge]:
    """Give a judge that listens on loopback."""
    judge = FakeJudge()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, answer = judge.answer(self.headers.get("authorization", ""), request)
            if self.path != "/v1/chat/completions":
                status = 404
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the library's own name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    judge.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield judge
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
