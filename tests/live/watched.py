"""What `registry-proxy watch` watches, made without a proxy."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "0123456789abcdef"
BEGIN = 1_700_000_000.0
DIGESTS = [f"sha256:{digit * 64}" for digit in "123"]


def pull(number: int = 1, **known: Any) -> dict[str, Any]:
    """Return a pull as `/pulls.json` has it: one that is over and went well."""
    return {
        "id": str(number),
        "client": {"address": "192.0.2.7", "agent": "docker/28.5.2", "login": None},
        "name": f"org/app{number}",
        "release": "2.3.8+rev2",
        "commit": "b4b201f0003841fd5509c6d06b45899b",
        "result": "served",
        "is_over": True,
        "reason": "6.3 MB in 1.50 s",
        "finding": None,
        "advice": None,
        "begin": BEGIN + number,
        "end": BEGIN + number + 1.5,
        "bytes": 6_300_000,
        "total": 6_300_000,
        "rate": None,
        "requests": [],
        **known,
    }


def running(number: int = 1, **known: Any) -> dict[str, Any]:
    """Return one that is half there, with one of its two layers."""
    blobs = [
        {"kind": "blob", "digest": digest, "outcome": outcome}
        for digest, outcome in zip(DIGESTS, ("served", None), strict=False)
    ]
    half = {"bytes": 3_150_000, "rate": 2_000_000.0, "requests": blobs, "end": None}
    return pull(number, **({"is_over": False, "result": None} | half | known))


def failed(number: int = 1, **known: Any) -> dict[str, Any]:
    """Return one that failed, with what to do."""
    why = {
        "result": "failed",
        "finding": "the storage s3.example cannot be reached",
        "advice": "Check the route to s3.example.",
    }
    return pull(number, **(why | known))


def lost(number: int = 1, **known: Any) -> dict[str, Any]:
    """Return a request that belongs to no pull, whose client did not come back."""
    return {
        "id": f"other-{number}",
        "client": {"address": "192.0.2.9", "agent": "docker/28.5.2"},
        "what": "is this a registry?",
        "method": "GET",
        "path": "/v2/",
        "outcome": "challenged",
        "begin": BEGIN + number,
        "seconds": 0.1,
        "finding": "it did not come for a token",
        "advice": "Set PUBLIC_URL.",
        **known,
    }


class FakePage:
    """A page of pulls, which says what it is told to."""

    def __init__(self) -> None:
        self.pulls: list[Mapping[str, Any]] = []
        self.others: list[object] = []
        self.body: bytes | None = None
        """What is answered instead, if anything."""
        self.status = 200
        self.asked = 0
        self.port = 0
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """Its address with the token, as a log names it."""
        return f"http://127.0.0.1:{self.port}/pulls?token={TOKEN}"

    def start(self) -> None:
        """Answer from now on, at the port of the time before if there was one."""
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Answer nobody any more."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer who has the token."""
        self.asked += 1
        is_known = handler.headers["Authorization"] == f"Bearer {TOKEN}"
        state: dict[str, Any] = {"version": self.asked, "now": BEGIN, "left_out": 0}
        state["pulls"] = [*reversed(self.pulls)]
        state["others"] = self.others
        body = json.dumps(state).encode() if self.body is None else self.body
        handler.send_response(self.status if is_known else 403)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


@contextmanager
def showing(*pulls: Mapping[str, Any]) -> Iterator[FakePage]:
    """Run a page with these pulls, the oldest first."""
    page = FakePage()
    page.pulls = [*pulls]
    page.start()
    try:
        yield page
    finally:
        page.stop()
