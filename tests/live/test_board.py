"""What the board keeps of pulls, and what it tells of them."""

import gc
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from mitmproxy import http
from mitmproxy.test.tflow import tclient_conn

from cause.handshake import spoke_tls
from live import board as limits
from live.board import Board, Card
from mitm.guard.reader import AnswerReader
from mitm.story import handshake
from mitm.story.kind import Kind, Login, Outcome, OwnKind
from report import grouping, party, phrase
from report.grouping import Sorting, group_requests
from report.pull import Pull
from report.request import Request
from report.secret import Secrets
from tests.live.play import Clock, begin, play, playing, record_of
from tests.report.flow import (
    ALIAS,
    FOUND,
    docker_pull,
    make_flow,
    refused_pull,
    requests_of,
)
from tests.report.open import open_pull, refused_push

OTHER = "balenablocks/other/1.0"


@pytest.fixture
def kept() -> Iterator[tuple[Board, Clock]]:
    """An empty board, and its clock."""
    with playing() as made:
        yield made


def blob(number: int, **known: Any) -> http.HTTPFlow:
    """Return the flow of a blob."""
    return make_flow(Kind.BLOB, digest=f"sha256:{number:064x}", bytes=1000, **known)


def ids_of(card: Card) -> list[str]:
    """Return the ids of its requests."""
    return [each.id for each in card.pull.rows]


RECORDINGS = {
    "one pull": docker_pull(),
    "again after a while": [*docker_pull(), *docker_pull(at=90)],
    "two clients": [*docker_pull(), *docker_pull(at=0.05, client="192.0.2.8")],
    "two names": [*docker_pull(), *docker_pull(at=0.01, alias=OTHER)],
    "refused, and then the right one": [*refused_pull(), *docker_pull(at=3)],
    "only a ping": docker_pull()[:1],
    "a command while a layer of the one before runs": [
        *docker_pull(),
        blob(9, at=0.9, seconds=5),
        *docker_pull(at=3),
    ],
    "without tokens": open_pull(),
    "without tokens, twice": [*open_pull(), *open_pull(3)],
    "without tokens, at once": [*open_pull(), *open_pull(0.001)],
    "with a password": open_pull(login=Login.KEY),
    "a push": refused_push(),
    "several layers at once": [
        *docker_pull(),
        *(blob(n, at=0.85 + n / 100, seconds=1.5) for n in range(5)),
    ],
}


@pytest.mark.parametrize("name", RECORDINGS)
def test_pulls_are_those_of_the_report(kept: tuple[Board, Clock], name: str) -> None:
    """Whoever saves the flows and makes a report of them sees the same pulls."""
    board, clock = kept
    flows = RECORDINGS[name]
    play(board, clock, flows)
    groups = group_requests(requests_of(flows))
    shown = {tuple(ids_of(card)): card.pull.result for card in board.cards()}
    saved = {tuple(r.id for r in pull.rows): pull.result for pull in groups.pulls}
    assert shown == saved
    assert [r.id for r in board.others.requests] == [r.id for r in groups.others]


def test_running_pull_grows(kept: tuple[Board, Clock]) -> None:
    """How much a client has by now, and how fast it gets more, is seen at a look."""
    board, clock = kept
    flow = blob(1)
    record = begin(board, flow)
    record.reader = cast("AnswerReader", SimpleNamespace(taken=0))
    assert flow.response
    flow.response.headers["Content-Length"] = "10000"
    record.registry_seconds = 0.1
    board.note(flow, record)
    (card,) = board.cards()
    for taken in (1000, 3000, 5000):
        clock.now += 1
        record.reader.taken = taken
        before = board.version
        changed, _ = board.changes(before)
        assert changed == [card]
        assert card.bytes == taken
    assert card.rate == 2000
    assert card.pull.total == 10_000
    assert card.result is None
    assert not card.is_over


def test_pull_is_over_when_nothing_follows(kept: tuple[Board, Clock]) -> None:
    """A client has a moment for its next request before its pull counts as served."""
    board, clock = kept
    play(board, clock, docker_pull())
    (card,) = board.cards()
    board.look()
    assert (card.is_over, card.result) == (False, None)
    clock.now += limits.QUIET_SECONDS + 1
    board.look()
    assert (card.is_over, card.result) == (True, Outcome.SERVED)
    assert board.changes(board.version)[0] == []


def test_refusal_is_told_at_once(kept: tuple[Board, Clock]) -> None:
    """What went wrong is known before it is known whether the client tries again."""
    board, clock = kept
    play(board, clock, refused_pull())
    (card,) = board.cards()
    assert card.result is Outcome.REFUSED
    assert board.counts.bad == 1


def test_own_request_is_shown_before_the_answer(kept: tuple[Board, Clock]) -> None:
    """Somebody sees what the proxy waits for while a client waits for the proxy."""
    board, _ = kept
    token = make_flow(Kind.TOKEN)
    begin(board, token)
    asked = make_flow(OwnKind.RESOLUTION, request_id=token.id)
    board.note(asked, record_of(asked))
    (card,) = board.cards()
    assert ids_of(card) == [token.id, asked.id]
    assert card.running


def test_request_for_many_names_is_read_seldom(
    kept: tuple[Board, Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One for 32 names is not read again for each look-up, and no name in vain."""
    texts: list[str] = []

    def cut(_: Secrets, text: str) -> str:
        texts.append(text)
        return text

    monkeypatch.setattr(Secrets, "cut", cut)
    board, clock = kept
    names = [f"org/app{number}/1" for number in range(32)]
    token = make_flow(Kind.TOKEN, alias=", ".join(names))
    token.metadata["balena"]["aliases"] = [{"alias": name} for name in names]
    asked = [
        make_flow(OwnKind.RESOLUTION, seconds=0.01, request_id=token.id, alias="")
        for _ in names
    ]
    play(board, clock, [token, *asked])
    assert [len(card.pull.rows) for card in board.cards()] == [33] * limits.ALIASES_MAX
    assert texts.count("token") == 2
    assert not {*texts} & {*names[limits.ALIASES_MAX :]}


def test_health_checks_are_left_out(kept: tuple[Board, Clock]) -> None:
    """They come every second, and are no pulls."""
    board, clock = kept
    play(board, clock, [make_flow(Kind.PING, alias="")])
    assert not board.others.requests


def test_update_has_what_changed(kept: tuple[Board, Clock]) -> None:
    """A page is told of each pull once, and of many in several answers."""
    board, clock = kept
    for number in range(60):
        play(board, clock, [blob(number, alias=f"org/app{number}/1", at=number)])
    clock.now += 60
    for _ in range(10):
        board.look()
    seen: list[Card] = []
    after = 0
    while after < board.version:
        changed, after = board.changes(after)
        assert len(changed) <= limits.CARDS_MAX
        seen += changed
    assert sorted(int(card.id) for card in seen) == list(range(1, 61))
    assert board.changes(after) == ([], after)


def test_number_of_pulls_is_bounded(
    kept: tuple[Board, Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest that is over goes first, and one that runs last."""
    monkeypatch.setattr(limits, "PULLS_MAX", 3)
    board, clock = kept
    begin(board, blob(0, alias="org/runs/1"))
    for number in range(1, 6):
        play(board, clock, [blob(number, alias=f"org/app{number}/1", at=number)])
    assert [card.pull.alias for card in board.cards()] == [
        *("org/app5/1", "org/app4/1", "org/runs/1")
    ]
    assert board.counts.left_out == 3
    assert len(board._sorting.pulls) == 3


def test_number_of_requests_is_bounded(
    kept: tuple[Board, Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pull of very many keeps those that failed, and what the client got in all."""
    monkeypatch.setattr(limits, "REQUESTS_OF_PULL_MAX", 10)
    monkeypatch.setattr(limits, "SLACK", 0)
    board, clock = kept
    failed = blob(3, outcome=Outcome.FAILED, status=502, at=0.03, seconds=0.005)
    flows = [blob(n, at=n / 100, seconds=0.005) for n in range(50) if n != 3]
    play(board, clock, [*flows, failed])
    (card,) = board.cards()
    assert len(card.pull.requests) == len(board._sorting._places) == 10
    assert failed.id in ids_of(card)
    assert card.pull.left_out == 40
    assert card.bytes == 49_000
    monkeypatch.setattr(limits, "REQUESTS_MAX", 12)
    play(board, clock, [blob(n, alias=OTHER, at=1 + n / 100) for n in range(5)])
    assert [card.pull.alias for card in board.cards()] == [OTHER]


def test_own_requests_of_those_left_out_are_not_counted(
    kept: tuple[Board, Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pull that asks for tokens again and again has room for others beside it."""
    monkeypatch.setattr(limits, "REQUESTS_OF_PULL_MAX", 10)
    monkeypatch.setattr(limits, "SLACK", 0)
    board, clock = kept
    for number in range(30):
        token = make_flow(Kind.TOKEN, at=number, session="s")
        grant = make_flow(OwnKind.GRANT, at=number + 0.05, request_id=token.id)
        grant.metadata["balena"]["seconds"] = 0.01
        play(board, clock, [token, grant])
    (card,) = board.cards()
    assert card.size == board._size == len(card.pull.rows) == 20


def test_forgotten_pull_takes_its_name_with_it(
    kept: tuple[Board, Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tag's own name, which only has the token, does not come up as a pull."""
    monkeypatch.setattr(limits, "PULLS_MAX", 3)
    board, clock = kept
    for number in range(4):
        app = f"org/app{number}"
        known: dict[str, Any] = {"session": app, "connection": app}
        token = make_flow(Kind.TOKEN, at=100 * number, alias=f"{app}, {app}/1", **known)
        token.metadata["balena"]["aliases"] = [
            *({"alias": app}, {**FOUND, "alias": f"{app}/1"})
        ]
        manifest = make_flow(Kind.MANIFEST, at=100 * number + 1, alias=app, **known)
        play(board, clock, [token, manifest])
        (card,) = board.cards()
        assert card.pull.alias == app
    assert board.left_out == 3
    assert len(board._cards) == len(board._sorting._pulls) == 2


CONNECTIONS: dict[str, dict[str, Any]] = {
    "known": {"connection": "a"},
    "behind a reverse proxy": {"forwarded_for": "192.0.2.7"},
    "unknown": {},
}


def lose(board: Board, clock: Clock, flow: http.HTTPFlow) -> None:
    """Let it be found that a client did not come back after this request."""
    clock.now += 30
    lost = {"fault": "client", "finding": "no request for a token came"}
    flow.metadata["balena"] |= lost
    board.note(flow, record_of(flow))


@pytest.mark.parametrize("known", CONNECTIONS.values(), ids=CONNECTIONS)
def test_client_that_does_not_come_back(
    kept: tuple[Board, Clock], known: dict[str, Any]
) -> None:
    """What is found after its last request is told on its one card."""
    board, clock = kept
    first = make_flow(Kind.MANIFEST, Outcome.CHALLENGED, status=401, **known)
    probe = make_flow(OwnKind.PROBE, at=0.05, request_id=first.id)
    probe.metadata["balena"]["seconds"] = 0.01
    play(board, clock, [first, probe])
    version = board.version
    lose(board, clock, first)
    (card,) = board.cards()
    assert card.changed > version
    assert card.result is Outcome.ABORTED
    assert ids_of(card) == [first.id, probe.id]
    assert card.size == board._size == 2
    assert card.pull.decisive
    assert card.pull.decisive.record.finding == "no request for a token came"


@pytest.mark.parametrize("known", CONNECTIONS.values(), ids=CONNECTIONS)
def test_ping_that_nothing_follows(
    kept: tuple[Board, Clock], known: dict[str, Any]
) -> None:
    """It stays one request, with what was found, and is let go as a whole."""
    board, clock = kept
    flow = make_flow(Kind.BASE, Outcome.CHALLENGED, status=401, **known)
    play(board, clock, [flow])
    lose(board, clock, flow)
    (ping,) = board.others.requests
    assert ping.record.finding == "no request for a token came"
    assert board.others_changed == board.version
    board._sorting.forget_others(0)
    assert not board._sorting._loose
    assert not board._sorting._bases


def test_handshake_that_came_to_nothing(kept: tuple[Board, Clock]) -> None:
    """A client that never came to ask for anything is shown beside the pulls."""
    board, _ = kept
    flow, record = handshake.flow_of(tclient_conn())
    record.blame(spoke_tls(30))
    record.save(flow)
    board.note(flow, record)
    (shown,) = board.others.bad
    assert phrase.what(shown) == "TLS handshake"
    assert shown.explanation == (
        "The client began a TLS handshake, and asked for nothing.",
        f"What is wrong: {record.finding}.",
        f"What to do: {record.advice}.",
    )
    assert shown.client == "127.0.0.1"
    (failure,) = board.others.failures
    assert "spoke TLS to this port" in str(failure)
    assert not board.cards()


def test_what_belongs_to_no_pull_is_bounded(kept: tuple[Board, Clock]) -> None:
    """Somebody who tries paths, or pings, has no memory for himself."""
    board, clock = kept
    for number in range(300):
        play(board, clock, [make_flow(Kind.BASE, at=number, client=f"c{number}")])
        play(board, clock, [make_flow(Kind.OTHER, at=number, alias="")])
    assert len(board.others.requests) <= 2 * limits.OTHERS_MAX
    assert len(board._sorting._bases) <= limits.OTHERS_MAX


def test_findings_of_others_stay(
    kept: tuple[Board, Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks for very many paths takes none of them away, nor its own (T15)."""
    monkeypatch.setattr(limits, "OTHERS_MAX", 5)
    board, clock = kept
    lost = [
        make_flow(
            Kind.BASE, Outcome.CHALLENGED, status=401, client=client, finding="why"
        )
        for client in ("192.0.2.9", "2001:db8::1")
    ]
    many = [
        make_flow(Kind.OTHER, at=n + 1, alias="", client=f"2001:db8::{n + 2}")
        for n in range(20)
    ]
    play(board, clock, [*lost, *many])
    kept_ids = [each.id for each in board.others.requests]
    assert kept_ids == [each.id for each in (*lost, *many[-3:])]


def test_nothing_of_a_request_that_is_over_is_held(kept: tuple[Board, Clock]) -> None:
    """A flow, with its bodies, is let go when it ends."""
    board, clock = kept
    play(board, clock, [*docker_pull(), *refused_pull(at=9)])
    assert not board._running
    assert not board._names
    assert not board._sorting._running


LONG = 2000
"""Characters, of which the board keeps fewer."""


@pytest.mark.parametrize(
    ("texts", "megabytes"), [("typical", 25), ("longest", 55)], ids=str
)
def test_memory_of_a_full_board(
    kept: tuple[Board, Clock], texts: str, megabytes: int
) -> None:
    """All that is kept takes so much at most, whatever clients and registry say."""
    board, _ = kept
    flows = []
    for number in range(400):
        known: dict[str, Any] = {"target": FOUND, "comment": "blob " * 12}
        name = f"org/app{number // 40}/1"
        if texts == "longest":
            name = f"{name:x<255}"
            told = ("message", "failure", "finding", "advice", "warning", "comment")
            known |= {each: f"{number}{each:x<{LONG}}" for each in told}
            known["path"] = f"/v2/{name}/blobs/{number:x<{LONG}}"
        known |= {"registry_seconds": 0.1, "connection": name}
        known["agent"] = f"docker/{number:x<{LONG}}"
        flows.append(blob(number, alias=name, at=number, **known))
    records = [record_of(flow) for flow in flows]
    gc.collect()
    tracemalloc.start()
    for flow, record in zip(flows, records, strict=True):
        board.note(flow, record)
    gc.collect()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(board.cards()) == 10
    assert taken / len(flows) * limits.REQUESTS_MAX < megabytes * 1e6


@pytest.mark.parametrize("show_secrets", [False, True])
def test_secret_in_a_name_is_cut_out(*, show_secrets: bool) -> None:
    """A login that somebody wrote into an image's name as well is in no text (T15)."""
    key = "carolkey0000000000000000000000000"
    jwt = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJjYXJvbCJ9.c2lnbmF0dXJlLW9mLXRva2Vu"
    with playing(show_secrets=show_secrets) as (board, clock):
        flow = make_flow(
            Kind.MANIFEST,
            Outcome.REFUSED,
            alias=f"org/{key}/{jwt}",
            comment=f"{key} {jwt}",
            status=404,
            code="NAME_UNKNOWN",
            message=f"there is no {key} nor {jwt}",
        )
        flow.request.headers["Authorization"] = f"Bearer {key}"
        play(board, clock, [flow])
        text = str(board.cards())
    assert jwt not in text
    assert (key in text) == (not show_secrets)


def test_texts_are_bounded(kept: tuple[Board, Clock]) -> None:
    """A name of a megabyte takes a kilobyte."""
    board, clock = kept
    long = "x" * 1_000_000
    flow = make_flow(Kind.MANIFEST, alias=long, comment=long, message=long, code=long)
    flow.request.headers["User-Agent"] = long
    play(board, clock, [flow])
    assert len(str(board.cards())) < 20_000


def test_pull_of_a_flow_is_found(kept: tuple[Board, Clock]) -> None:
    """Who looks at a request, also at one of the proxy's own, gets to its pull."""
    board, clock = kept
    flows: Sequence[http.HTTPFlow] = [*docker_pull(), *docker_pull(at=2, alias=OTHER)]
    play(board, clock, flows)
    found = board.find(flows[7].id)
    assert found
    assert found.pull.alias == OTHER
    assert board.find("nothing") is None
    assert board.card("1") is board.cards()[-1]
    assert board.cards()[-1].pull.alias == ALIAS


def challenged(at: float, connection: str) -> http.HTTPFlow:
    """Return a client's first request, which is told to get a token."""
    return make_flow(
        Kind.MANIFEST, Outcome.CHALLENGED, at=at, status=401, connection=connection
    )


def test_pulls_that_turn_out_to_be_one(kept: tuple[Board, Clock]) -> None:
    """Whose token it was is known once it is sent where the client began."""
    board, clock = kept
    first = [challenged(0, "a"), challenged(0.01, "b")]
    tokens = [
        make_flow(Kind.TOKEN, at=at, connection=name, session=name)
        for at, name in ((0.5, "c"), (0.51, "d"))
    ]
    play(board, clock, [*first, *tokens])
    assert len(board.cards()) == 2
    version = board.version
    sent = [
        make_flow(Kind.MANIFEST, at=at, connection=connection, session=name)
        for at, connection, name in ((1, "b", "c"), (1.01, "a", "d"))
    ]
    play(board, clock, sent)
    assert [len(card.pull.requests) for card in board.cards()] == [3, 3]
    assert not board.others.requests
    assert board.gone > version
    assert board.counts.pulls == 2


def test_client_of_a_forgotten_pull_goes_on(
    kept: tuple[Board, Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its next layer begins another pull, whatever the board has let go meanwhile."""
    monkeypatch.setattr(limits, "PULLS_MAX", 3)
    board, clock = kept
    mine = [blob(number, connection="mine", at=number) for number in (0, 9)]
    others = [
        blob(1, alias=f"org/app{number}/1", connection=f"{number}", at=number)
        for number in range(1, 6)
    ]
    begin(board, blob(0, alias="org/slow/1", connection="mine"))
    play(board, clock, [*mine, *others])
    assert ids_of(board.cards()[0]) == [mine[1].id]


def test_room_is_made_where_most_is(
    kept: tuple[Board, Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks for very many names pushes out nobody else's pull."""
    monkeypatch.setattr(limits, "PULLS_MAX", 6)
    monkeypatch.setattr(limits, "REQUESTS_MAX", 12)
    board, clock = kept
    play(board, clock, [blob(0, client="192.0.2.8")])
    many = [blob(n, alias=f"org/app{n}/1", at=n + 1) for n in range(20)]
    large = [blob(n, alias="org/large/1", at=30 + n / 9) for n in range(20)]
    for flows in (many, large):
        play(board, clock, flows)
        assert board.cards()[-1].pull.client == "192.0.2.8"


def test_network_is_one_client(
    kept: tuple[Board, Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has very many addresses of IPv6 has no more room than others (T15)."""
    monkeypatch.setattr(limits, "PULLS_MAX", 6)
    board, clock = kept
    mine = [blob(n, client="2001:db8:1::1", alias=f"org/app{n}/1") for n in range(2)]
    others = [blob(n, client=f"2001:db8::{n}", at=n + 1) for n in range(20)]
    play(board, clock, [*mine, *others])
    assert [card.pull.client for card in board.cards()[-2:]] == ["2001:db8:1::1"] * 2


def test_crowd_that_gets_nothing_pushes_nothing_out(
    kept: tuple[Board, Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many addresses with one refusal each, none takes room from a pull (T15)."""
    monkeypatch.setattr(limits, "PULLS_MAX", 40)
    board, clock = kept
    mine = [blob(n, alias=f"org/app{n}/1") for n in range(3)]
    refused = [
        make_flow(
            Kind.MANIFEST,
            Outcome.REFUSED,
            at=n + 1,
            status=404,
            client=f"198.51.100.{n}",
        )
        for n in range(60)
    ]
    play(board, clock, [*mine, *refused])
    cards = board.cards()
    assert [card.pull.client for card in cards[-3:]] == ["192.0.2.7"] * 3
    assert cards[0].pull.client == "198.51.100.59"


def test_no_request_waits_for_what_is_hidden(
    kept: tuple[Board, Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which pulls are none is found out for who looks, and not again at once."""
    asked: list[Sorting] = []
    before: Any = Sorting.hidden

    def hidden(sorting: Sorting) -> set[Pull]:
        asked.append(sorting)
        found: set[Pull] = before.__get__(sorting)
        return found

    monkeypatch.setattr(Sorting, "hidden", property(hidden))
    board, clock = kept
    play(board, clock, docker_pull())
    assert not asked
    for _ in range(5):
        board.cards()
        begin(board, blob(1))
    assert len(asked) == 1
    clock.now += limits.HIDE_SECONDS
    board.cards()
    board.cards()
    assert len(asked) == 2


def test_names_of_one_request_are_bounded(kept: tuple[Board, Clock]) -> None:
    """One request makes no dozens of pulls."""
    board, clock = kept
    names = [f"org/app{number}/1" for number in range(32)]
    token = make_flow(Kind.TOKEN, alias=", ".join(names))
    token.metadata["balena"]["aliases"] = [{"alias": name} for name in names[::-1]]
    play(board, clock, [token])
    shown = {card.pull.alias: card.pull.requests for card in board.cards()}
    assert {*shown} == {*names[: limits.ALIASES_MAX]}
    for (request,) in shown.values():
        assert {*request.aliases} == {*shown}


def test_doubts_are_bounded(kept: tuple[Board, Clock]) -> None:
    """A crowd of clients that nothing tells apart costs nobody time or memory."""
    board, clock = kept
    names = [f"org/app{number}/1" for number in range(8)]
    crowd = [
        make_flow(
            Kind.MANIFEST, Outcome.CHALLENGED, at=n / 1000, status=401, alias=name
        )
        for name in names
        for n in range(24)
    ]
    tokens = [
        make_flow(Kind.TOKEN, at=1 + n / 1000, alias=name)
        for name in names
        for n in range(24)
    ]
    for number, flow in enumerate([*crowd, *tokens]):
        flow.metadata["balena"]["connection"] = f"c{number}"
    play(board, clock, [*crowd, *tokens])
    sorting = board._sorting
    assert 0 < len(sorting._old_doubts) <= grouping.OLD_DOUBTS_MAX
    for doubt in (*sorting._old_doubts, *sorting._doubts):
        assert len(doubt.begun) <= grouping.RIVALS_MAX


@pytest.mark.parametrize("names", [3000, 1], ids=["ever new names", "one name"])
def test_nothing_of_what_is_forgotten_is_held(
    kept: tuple[Board, Clock], monkeypatch: pytest.MonkeyPatch, names: int
) -> None:
    """A connection that asks on and on, with ever new tokens, takes no more memory."""
    monkeypatch.setattr(limits, "PULLS_MAX", 20)
    monkeypatch.setattr(limits, "REQUESTS_OF_PULL_MAX", 30)
    board, clock = kept
    before = alive()
    for number in range(3000):
        name = f"org/app{number % names}/1"
        known = {"connection": "mine", "session": f"s{number}"}
        play(board, clock, [blob(number, alias=name, at=number, seconds=0.1, **known)])
    pulls, requests = (now - then for now, then in zip(alive(), before, strict=True))
    assert pulls <= 20
    assert requests <= 30 + limits.SLACK
    assert len(board._sorting._places) <= 30 + limits.SLACK
    assert len(board._sorting._parties._parties) <= party.LINKS_MAX


def alive() -> tuple[int, int]:
    """Return how many pulls and requests there are in memory."""
    gc.collect()
    kinds = Counter(type(each) for each in gc.get_objects())
    return kinds[Pull], kinds[Request]
