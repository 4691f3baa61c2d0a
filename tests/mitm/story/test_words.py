"""What is said of requests whose end no recorded pull has."""

import pytest
from mitmproxy import http
from mitmproxy.test import tflow

from mitm.story import log_line, words
from mitm.story.explain import explain
from mitm.story.record import Mover, Record
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


def test_flow_that_waits_says_for_what() -> None:
    """Nobody has to guess what is under way."""
    flow = tflow.tflow()
    words.begin(flow, request(TOKEN, alias=ALIAS))
    assert flow.comment == f"token for {ALIAS}: waiting for an answer"
