"""The record of a request: how it ended, and how a flow carries it."""

import io
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy import http
from mitmproxy.io import FlowReader, FlowWriter
from mitmproxy.test import tflow

from mitm.story.alias import AliasRecord
from mitm.story.kind import Kind, Login, Outcome
from mitm.story.record import KEY, PATH_LENGTH_MAX, Record, shown_path
from resolver import errors
from resolver.errors import Reason
from resolver.upstream.observer import CacheState
from tests.fuzz.profile import FUZZ
from tests.fuzz.strategy import JSON
from tests.mitm.story.sample import ALIAS, TOKEN, flow_with, request, token_answer
from tests.resolver.fake import COMMIT, LOCATION


@pytest.mark.parametrize(
    ("is_sent", "is_client_there", "failure", "outcome", "reason"),
    [
        (True, True, "closed", Outcome.FAILED, Reason.CONNECTION),
        (True, True, "TLS handshake failed", Outcome.FAILED, Reason.TLS),
        (True, True, "took too long", Outcome.FAILED, Reason.TIMEOUT),
        (True, False, "closed", Outcome.ABORTED, None),
        (False, True, "closed", Outcome.ABORTED, None),
    ],
)
def test_outcome_without_an_answer(
    *,
    is_sent: bool,
    is_client_there: bool,
    failure: str,
    outcome: Outcome,
    reason: Reason | None,
) -> None:
    """The registry is to blame only for what it was asked, with somebody waiting."""
    record = request(is_sent=is_sent)
    record.broken(failure, is_client_there=is_client_there)
    assert (record.outcome, record.reason) == (outcome, reason)


@pytest.mark.parametrize(
    ("headers", "trust", "request_id", "client", "login"),
    [
        ({}, True, None, "127.0.0.1", Login.NONE),
        ({"authorization": "Basic Og=="}, True, None, "127.0.0.1", Login.NONE),
        ({"authorization": "Basic dTprZXk="}, True, None, "127.0.0.1", Login.KEY),
        ({"authorization": "bearer x"}, True, None, "127.0.0.1", Login.TOKEN),
        ({"authorization": "Digest x"}, True, None, "127.0.0.1", Login.NONE),
        ({"x-request-id": "a.b"}, True, "a.b", "127.0.0.1", Login.NONE),
        ({"x-request-id": "a.b"}, False, None, "127.0.0.1", Login.NONE),
        ({"x-request-id": "a b"}, True, None, "127.0.0.1", Login.NONE),
        ({"x-forwarded-for": "192.0.2.1"}, True, None, "192.0.2.1", Login.NONE),
        ({"x-forwarded-for": "192.0.2.1"}, False, None, "127.0.0.1", Login.NONE),
    ],
)
def test_request_that_begins(
    headers: dict[str, str],
    trust: bool,  # noqa: FBT001 - a column of the table
    request_id: str | None,
    client: str,
    login: Login,
) -> None:
    """Who asks is as the headers say, where they are to be believed, and prints."""
    flow = tflow.tflow()
    flow.request.path = "/v2/\n?apikey=secret"
    record = Record.of(flow, headers, trust_forwarded=trust)
    assert record.request_id == (request_id or flow.id)
    assert (record.client[0], record.login) == (client, login)
    assert record.path == r"/v2/\n"
    assert record.connection == (None if trust else flow.client_conn.id)
    assert record.forwarded_for == (client if client != "127.0.0.1" else None)


@pytest.mark.parametrize("sign", ["x", "\x80", "\n"])
def test_long_path_is_cut(sign: str) -> None:
    """Of a path of 60 kB the log has a line, in whatever characters it is."""
    assert shown_path(f"/{sign * 60_000}?x").startswith("/")
    assert len(shown_path(f"/{sign * 60_000}?x")) <= PATH_LENGTH_MAX


def test_name_of_a_client_is_brief_and_prints() -> None:
    """Of what a client calls itself, the first word is kept, and no control sign."""
    for sent, shown in (
        ("docker/28.5.2 go/go1.24 (linux)", "docker/28.5.2"),
        ("\x1b[2J x", r"\x1b[2J"),
        ("a" * 1000, "a" * 60),
        ("", ""),
    ):
        headers = {"user-agent": sent}
        record = Record.of(tflow.tflow(), headers, trust_forwarded=False)
        assert record.agent == shown


def test_record_comes_back_from_a_file() -> None:
    """What a token for several aliases came to is saved in plain values, by alias."""
    missing = errors.ReleaseUnknown("none")
    record = request(
        TOKEN,
        login=Login.KEY,
        answer=token_answer(
            ALIAS, "org/other", refusals={"org/gone": missing}, tagged={"org/other": 7}
        ),
        alias=f"{ALIAS}, org/other, org/gone",
    )
    record.aliases[0].cache = CacheState.HIT
    record.answered(http.Response.make(200, b"12345"), is_head=False)
    flow = flow_with(None)
    record.save(flow)
    assert {type(value) for value in flow.metadata[KEY].values()} <= {
        *(str, int, float, list)
    }
    file = io.BytesIO()
    FlowWriter(file).add(flow)
    file.seek(0)
    (saved,) = FlowReader(file).stream()
    found = Record.read(saved)
    assert found
    assert found.as_dict() == record.as_dict()
    assert (found.outcome, found.login, found.kind) == ("served", "key", "token")
    assert found.aliases[0] == AliasRecord(
        *(ALIAS, None, "2.3.8+rev2", "2", COMMIT, LOCATION, CacheState.HIT),
        "the only one",
    )
    assert [each.tagged for each in found.aliases] == [None, 7, None]
    assert [each.code for each in found.refused] == ["NAME_UNKNOWN"]


VALUES = JSON | st.floats() | st.sampled_from([*Kind, *Outcome, -1, 10**30, True])
STATES = st.dictionaries(
    st.sampled_from([each.name for each in fields(Record)]),
    VALUES | st.lists(st.dictionaries(st.sampled_from(["alias", "tagged"]), VALUES)),
)


@given(STATES.map(lambda state: {"kind": "token", **state}) | JSON)
@FUZZ
def test_record_of_a_stranger(state: object) -> None:
    """Whatever a saved file has in its place is read, or counts as not known."""
    flow = flow_with(None)
    flow.metadata[KEY] = state
    if record := Record.read(flow):
        assert Record.from_dict(record.as_dict()).as_dict() == record.as_dict()
        assert record.bytes is None or 0 <= record.bytes < 1 << 63
        assert record.seconds is None or 0 <= record.seconds < 1 << 35
        assert record.subject is not None
