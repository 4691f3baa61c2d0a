"""Clients that are sent for a token, and do not come for one."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest
from mitmproxy import http
from mitmproxy.test import tflow

from cause.finding import Cause
from mitm.story.handshake import Handshake
from mitm.story.kind import Kind, Login, Outcome
from mitm.story.record import Record
from mitm.story.returning import SAID_MAX, SAID_SECONDS, WAITING_MAX, Returns
from resolver.naming import Naming
from tests.cause.sample import CERTIFICATE

REALM = "https://proxy.example/auth/v1/token"
AGENT = "containers/5.16.0 (github.com/containers/image)"


def request(
    kind: Kind = Kind.MANIFEST,
    outcome: Outcome | None = Outcome.CHALLENGED,
    address: str = "10.0.0.1",
    *,
    agent: str = AGENT,
    login: Login = Login.NONE,
) -> tuple[http.HTTPFlow, Record]:
    """Return a client's request, which was challenged unless told otherwise."""
    flow = tflow.tflow()
    flow.request.headers["user-agent"] = agent
    record = Record("", (address, 40000), kind=kind, outcome=outcome)
    record.realm, record.login, record.connection = REALM, login, "c"
    return flow, record


def greeting(flow: http.HTTPFlow, words: str | None = None) -> Handshake:
    """Return a handshake that the client of a request had before."""
    return Handshake(flow.client_conn, words)


def mistrusting(address: str, words: str = "(tlsv1 alert unknown ca)") -> Handshake:
    """Return a handshake in which a client was shown the certificate."""
    client = tflow.tclient_conn()
    client.peername = (address, 40000)
    return Handshake(client, words, CERTIFICATE)


def lost(
    *steps: tuple[http.HTTPFlow, Record] | Handshake,
    end: Callable[[Returns], None] = lambda _: None,
) -> list[Record]:
    """Return the requests that were told of, once all time is over."""
    told: list[Record] = []

    async def play() -> None:
        returns = Returns(lambda _, record: told.append(record), seconds=0)
        for step in steps:
            if isinstance(step, Handshake):
                returns.note_handshake(step)
            else:
                returns.note(*step)
        end(returns)
        # What is due by now is called before this comes back.
        done = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0, done.set_result, None)
        await done

    asyncio.run(play())
    return told


def test_client_that_does_not_come() -> None:
    """The finding names the realm, and what to set if it is a wrong one."""
    (record,) = lost(request())
    assert record.fault is Cause.REALM
    assert record.finding
    assert f"was sent to {REALM} for a token" in record.finding
    assert record.advice
    assert "PUBLIC_URL" in record.advice


def test_client_whose_token_is_not_taken() -> None:
    """One that brings the wrong token again is told apart."""
    (record,) = lost(request(login=Login.TOKEN))
    assert record.fault is Cause.CLIENT


@pytest.mark.parametrize(
    "next_step",
    [
        request(Kind.TOKEN, None),
        request(Kind.TOKEN, Outcome.SERVED),
        request(Kind.MANIFEST, Outcome.SERVED, login=Login.TOKEN),
        request(Kind.BLOB, None, login=Login.TOKEN),
        request(Kind.BASE, None, login=Login.KEY),
    ],
)
def test_client_that_comes(next_step: tuple[http.HTTPFlow, Record]) -> None:
    """Where somebody of that address comes with a token, or for one, all is well."""
    assert not lost(request(), next_step)


def test_client_that_does_not_log_in() -> None:
    """A registry that takes logins itself sends nobody anywhere."""
    flow, record = request()
    record.wants_login = True
    assert not lost((flow, record))
    record.naming = cast("Naming", SimpleNamespace(has_own_names=True))
    (told,) = lost((flow, record))
    assert told.fault is Cause.LOGIN
    assert told.finding
    assert REALM not in told.finding
    assert told.advice
    assert "docker login" in told.advice


def test_client_behind_a_reverse_proxy() -> None:
    """It may have come to another replica, so that nothing is known by absence."""
    flow, record = request()
    record.connection = None
    assert not lost((flow, record))


def test_other_address_changes_nothing() -> None:
    """Somebody else's token says nothing about this client."""
    assert len(lost(request(), request(Kind.TOKEN, None, "10.0.0.2"))) == 1


def test_client_that_is_challenged_again() -> None:
    """The last challenge counts, and is told once."""
    first, second = request(), request()
    assert lost(first, second) == [second[1]]


def test_monitor_wants_no_token() -> None:
    """What is no container client may only ask whether a registry is there."""
    assert not lost(request(Kind.BASE, agent="curl/8.5.0"))


def test_finding_that_is_there_already_stays() -> None:
    """A challenge that was explained is not explained in another way."""
    flow, record = request()
    record.fault, record.finding = Cause.REALM, "another"
    assert not lost((flow, record))
    assert record.finding == "another"


def test_number_of_addresses_is_bounded() -> None:
    """Whoever asks from ever new addresses hides nobody who came before."""
    asked = [
        request(address=f"10.0.{n >> 8}.{n & 255}") for n in range(WAITING_MAX + 1)
    ]
    told = lost(*asked)
    assert len(told) == WAITING_MAX
    assert asked[-1][1] not in told


def test_network_of_ipv6_is_one_household() -> None:
    """Who has it can come from any address of it."""
    first, second = request(address="2001:db8::1"), request(address="2001:db8::2")
    assert lost(first, second) == [second[1]]
    assert not lost(first, request(Kind.TOKEN, None, "2001:db8::3"))
    ways = mistrusting("2001:db8::1"), mistrusting("2001:db8::2")
    assert len(lost(*ways)) == 1
    flow, record = request(outcome=Outcome.SERVED)
    flow.client_conn.peername = ("2001:db8::3", 1)
    assert not lost(ways[0], (flow, record))


def test_client_that_failed_by_the_certificate_did_come() -> None:
    """It was on its way for a token, so that PUBLIC_URL is not to blame."""
    (told,) = lost(request(), mistrusting("10.0.0.1"))
    assert told.fault is Cause.TLS
    others = mistrusting("10.0.0.2"), mistrusting("10.0.0.1", "no shared cipher")
    for other in others:
        assert [each.fault for each in lost(request(), other)] == [
            Cause.REALM,
            Cause.TLS,
        ]


def test_little_is_said_of_handshakes_in_a_minute() -> None:
    """Clients come from ever new addresses; the next minute is another one (T8)."""
    now = 0.0
    told: list[Record] = []

    async def play() -> None:
        nonlocal now
        returns = Returns(
            lambda _, record: told.append(record), seconds=0, clock=lambda: now
        )
        for now, expected in ((0, 1), (SAID_SECONDS - 1, 1), (SAID_SECONDS, 2)):
            for n in range(2 * SAID_MAX):
                returns.note_handshake(mistrusting(f"10.{now}.0.{n}"))
            done = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(0, done.set_result, None)
            await done
            assert len(told) == expected * SAID_MAX

    asyncio.run(play())


def test_nobody_is_waited_for_at_the_end() -> None:
    """A proxy that ends tells of nobody."""
    assert not lost(request(), end=Returns.close)


def test_client_that_goes_away_without_tls() -> None:
    """It is told of as if it had asked for something."""
    flow, _ = request()
    (record,) = lost(greeting(flow))
    assert record.fault is Cause.TLS
    assert record.finding
    assert "spoke TLS to this port, which speaks plain HTTP" in record.finding
    assert record.kind is Kind.HANDSHAKE
    assert record.client == flow.client_conn.peername


@pytest.mark.parametrize("words", [None, "(tlsv1 alert unknown ca)"])
def test_client_that_goes_on_in_another_way(words: str | None) -> None:
    """As docker does at a registry of its own machine."""
    flow, record = request(outcome=Outcome.SERVED)
    assert not lost(greeting(flow, words), (flow, record))


def test_request_before_a_handshake_is_no_answer_to_it() -> None:
    """Only who comes afterwards has found another way."""
    flow, record = request(outcome=Outcome.SERVED)
    assert len(lost((flow, record), greeting(flow))) == 1


def test_handshakes_are_told_of_once() -> None:
    """Some clients try again for ever."""
    flow, _ = request()

    told: list[Record] = []

    async def play() -> None:
        returns = Returns(lambda _, record: told.append(record), seconds=0)
        for _ in range(3):
            for _ in range(3):
                returns.note_handshake(greeting(flow))
            done = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(0, done.set_result, None)
            await done

    asyncio.run(play())
    assert len(told) == 1
