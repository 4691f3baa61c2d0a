"""What is said of requests whose end no recorded pull has."""

import hashlib
import logging

import pytest
from mitmproxy import http
from mitmproxy.test import tflow

from mitm.story import log_line, words
from mitm.story.explain import explain
from mitm.story.kind import Mover, Outcome
from mitm.story.record import Record
from resolver import errors
from tests.mitm.story.sample import ALIAS, BLOB, TOKEN, flow_with, request

SHORT = f"blob sha256:abababababab of {ALIAS}"
UNPRINTABLE = errors.error_body(errors.ErrorCode.NAME_UNKNOWN, "manifest\nunknown")


@pytest.mark.parametrize(
    ("record", "status", "body", "comment"),
    [
        (
            request(BLOB, storage="storage.example"),
            *(200, b"12345", f"blob 5 bytes of {ALIAS}, from the storage"),
        ),
        (request(BLOB, mover=Mover.NGINX), 200, b"", f"{SHORT}, left to nginx"),
        (
            request(BLOB, mover=Mover.NGINX_FETCH),
            *(200, b"", f"{SHORT}, left to nginx to fetch"),
        ),
        (request(BLOB), 307, b"", f"{SHORT}, redirected to the storage"),
        (request(BLOB), 304, b"", f"{SHORT}: the client has it already"),
        (
            request(),
            *(404, UNPRINTABLE),
            f"refused: manifest latest of {ALIAS}: manifest\\nunknown",
        ),
    ],
    ids=["storage", "nginx", "nginx fetches", "redirect", "known", "unprintable"],
)
def test_comment_says_how_it_ended(
    record: Record, status: int, body: bytes, comment: str
) -> None:
    """A comment in one line, and a mark on what was refused."""
    flow = tflow.tflow()
    flow.response = http.Response.make(status, body)
    record.answered(flow.response, is_head=False)
    words.tell(flow, record)
    assert (flow.comment, bool(flow.marked)) == (comment, status == 404)


@pytest.mark.parametrize("mover", Mover)
def test_bytes_that_nobody_saw_are_not_counted(mover: Mover) -> None:
    """What nginx moves is told as that, with no length; a saved flow knows it, too."""
    flow, record = flow_with(None), request(BLOB, is_sent=True, mover=mover)
    assert flow.response
    record.answered(flow.response, is_head=False)
    words.tell(flow, record)
    assert "bytes" not in log_line.facts(record)
    assert log_line.facts(record)["mover"] == mover
    assert f": {words.MOVERS[mover]}, in " in log_line.describe(record)
    (said,) = [each for each in explain(flow) if "nginx" in each]
    assert "0 bytes" not in said


@pytest.mark.parametrize(
    ("is_client_there", "storage", "comment", "line"),
    [
        (
            True,
            None,
            "failed: {}: it broke",
            "not answered by the registry h.io, it broke",
        ),
        (
            True,
            "s",
            "failed: {}: it broke",
            "not answered by the storage s:8443, it broke",
        ),
        (False, None, "{}: the client went away", "the client went away, it broke"),
    ],
    ids=["registry", "storage", "client"],
)
def test_broken_transfer_says_whose_fault_it_is(
    *, is_client_there: bool, storage: str | None, comment: str, line: str
) -> None:
    """A registry that breaks off is a failure; a client that goes away is none."""
    flow, record = tflow.tflow(), request(BLOB, is_sent=True, storage=storage)
    record.host = f"{storage}:8443" if storage else record.host
    record.head = 200, ()
    record.broken("it broke", is_client_there=is_client_there)
    words.tell(flow, record)
    assert flow.comment == comment.format(SHORT)
    assert bool(flow.marked) == is_client_there
    assert line in log_line.describe(record)


def odd_blob() -> tuple[http.HTTPFlow, Record]:
    """Return a blob that came packed, which the client did not ask for."""
    flow, record = tflow.tflow(), request(BLOB, is_sent=True)
    flow.request.headers.pop("accept-encoding", None)
    flow.response = http.Response.make(200, b"12345")
    record.head = 200, ((b"content-encoding", b"gzip"),)
    record.answered(flow.response, is_head=False)
    return flow, record


def test_served_with_a_fault() -> None:
    """An answer that no client can use is marked, and its comment says why."""
    flow, record = odd_blob()
    words.tell(flow, record)
    assert record.fault
    assert flow.marked == words.MARK
    assert flow.comment.startswith("blob 5 bytes of")
    assert flow.comment.endswith(f"; {record.finding}")


def test_challenge_with_a_fault() -> None:
    """A challenge that sends clients to where they cannot go says so."""
    flow, record = tflow.tflow(), request("/v2/", client_scheme="https")
    header = {"WWW-Authenticate": 'Bearer realm="http://p.example/auth/v1/token"'}
    flow.response = http.Response.make(401, b"", header)
    record.is_forwarded, record.head = True, (401, ((b"www-authenticate", b"x"),))
    record.answered(flow.response, is_head=False)
    words.tell(flow, record)
    assert flow.marked == words.MARK
    assert flow.comment.startswith("ping: told the client to get a token here; the cl")


def test_rule_that_breaks(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug in a rule is logged as one, and the request is told all the same."""

    def judge(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(words, "judge", judge)
    flow, record = odd_blob()
    with caplog.at_level(logging.ERROR):
        words.tell(flow, record)
    assert flow.comment.startswith("blob 5 bytes of")
    assert (record.fault, flow.marked) == (None, "")
    (line,) = caplog.records
    assert line.getMessage() == "a bug of this proxy"
    assert line.exc_info


@pytest.mark.parametrize(("length", "is_told"), [(1000, True), (300_000, False)])
def test_long_manifest_is_not_hashed(*, length: int, is_told: bool) -> None:
    """Others wait while it is hashed, so that is done for what is usual alone."""
    flow, record = tflow.tflow(), request(is_sent=True)
    body = bytes(length)
    digest = f"sha256:{hashlib.sha256(b'other').hexdigest()}"
    flow.response = http.Response.make(200, body)
    record.head = 200, ((b"docker-content-digest", digest.encode()),)
    record.answered(flow.response, is_head=False)
    words.tell(flow, record)
    assert (record.fault is not None) == is_told


def test_flow_that_waits_says_for_what() -> None:
    """Nobody has to guess what is under way."""
    flow = tflow.tflow()
    words.begin(flow, request(TOKEN, alias=ALIAS))
    assert flow.comment == f"token for {ALIAS}: waiting for an answer"


def test_client_that_went_away_is_told_once() -> None:
    """Mitmproxy's own words for it are not set beside ours."""
    record = Record("", outcome=Outcome.ABORTED, failure="Client disconnected.")
    assert words.no_answer(record) == "the client went away"
