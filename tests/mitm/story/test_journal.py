"""What the journal tells of requests that belong together."""

import asyncio
import logging

import pytest
from mitmproxy import http
from mitmproxy.test import tflow

from cause.finding import Cause
from mitm.guard.connection import Connections
from mitm.story.journal import Journal
from mitm.story.kind import Kind, Login
from mitm.story.record import Record
from mitm.story.session import session_of

DIGEST = f"sha256:{'ab' * 32}"
STORAGE = "https://storage.example/blob?X-Amz-Signature=secret"


class Audience:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Record] = []

    def note(self, _flow: http.HTTPFlow, record: Record) -> None:
        """Keep the record."""
        self.told.append(record)


def answered(status: int, **headers: str) -> http.HTTPFlow:
    """Return a flow with the answer of the registry."""
    flow = tflow.tflow()
    fields = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
    flow.response = http.Response.make(status, b"", fields)
    flow.request.headers["user-agent"] = "docker/28.5.2 go/go1.24"
    return flow


def challenged() -> tuple[http.HTTPFlow, Record]:
    """Return a request without a token."""
    record = Record("", ("10.0.0.1", 40000), kind=Kind.BASE, path="/v2/")
    record.is_forwarded, record.login, record.connection = True, Login.NONE, "c"
    record.realm = "https://proxy.example/auth/v1/token"
    return answered(401, www_authenticate=f'Bearer realm="{record.realm}"'), record


def redirected(token: str | None, login: Login) -> tuple[http.HTTPFlow, Record]:
    """Return a request for a blob that the client is to get from the storage."""
    record = Record("", ("10.0.0.1", 40000), kind=Kind.BLOB, path="/v2/a/b/blobs/x")
    record.is_forwarded, record.login, record.has_token = True, login, True
    record.digest, record.session = DIGEST, session_of(token)
    flow = answered(307, location=STORAGE)
    assert flow.response
    record.began(flow.response)
    return flow, record


def test_client_that_does_not_come_for_a_token(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log says so, and so does the page of pulls."""
    audience = Audience()

    async def play() -> None:
        journal = Journal(Connections(), return_seconds=0)
        journal.seat(audience)
        journal.answered(*challenged())
        done = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0, done.set_result, None)
        await done

    with caplog.at_level(logging.WARNING):
        asyncio.run(play())
    (line,) = [each.message for each in caplog.records if each.levelname == "WARNING"]
    assert "was sent to https://proxy.example/auth/v1/token for a token" in line
    assert "next: see whether the client's machine reaches it" in line
    assert [each.fault for each in audience.told][-1] is Cause.REALM


def findings(*asked: tuple[str | None, Login]) -> list[str | None]:
    """Return what is found where these ask for the same blob, one after the other."""
    found = []

    async def play() -> None:
        journal = Journal(Connections())
        for token, login in asked:
            flow, record = redirected(token, login)
            journal.answered(flow, record)
            found.append(record.finding)

    asyncio.run(play())
    return found


def test_same_token_asks_again_for_a_blob() -> None:
    """Who was redirected and comes back may not reach the storage."""
    *good, last = findings(*[("one", Login.TOKEN)] * 3)
    assert good == [None, None]
    assert last
    assert "storage.example" in last


@pytest.mark.parametrize(
    "asked",
    [
        [("one", Login.TOKEN), ("two", Login.TOKEN)],
        [(None, Login.KEY), (None, Login.KEY)],
        [(None, Login.NONE), (None, Login.NONE)],
    ],
    ids=["two tokens", "two logins", "no login"],
)
def test_others_of_one_address_ask_for_the_same_blob(
    asked: list[tuple[str | None, Login]],
) -> None:
    """Clients that nothing shows to be one are not taken for one."""
    assert findings(*asked * 2) == [None] * 4


def test_client_is_waited_for_when_metrics_change(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Who turns them off loses no finding."""

    async def play() -> None:
        journal = Journal(Connections(), return_seconds=0)
        journal.show_metrics(("127.0.0.1", 0))
        journal.answered(*challenged())
        journal.show_metrics(None)
        done = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0, done.set_result, None)
        await done

    with caplog.at_level(logging.WARNING):
        asyncio.run(play())
    assert "was sent to https://proxy.example/auth/v1/token" in caplog.text


def test_page_that_fails_harms_no_request(caplog: pytest.LogCaptureFixture) -> None:
    """A bug of the page is in the log, and the request goes on."""

    class Broken:
        def note(self, _flow: http.HTTPFlow, _record: Record) -> None:
            raise KeyError

    async def play() -> Record:
        journal = Journal(Connections())
        journal.seat(Broken())
        flow, record = redirected("one", Login.TOKEN)
        journal.began(flow, record)
        journal.answered(flow, record)
        return record

    assert asyncio.run(play()).status == 307
    assert "a bug of this proxy" in caplog.text
