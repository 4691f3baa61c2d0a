"""Who gets the page of pulls, and what the browser may do with it."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import requests

from live import server
from live.board import Board, Card
from live.state import pieces_of
from mitm.story.alias import AliasRecord
from mitm.story.kind import Kind, Outcome, OwnKind
from registry_proxy.port import LOOPBACK, free_port
from tests.integration.session import plain_session
from tests.live.play import Clock, play, playing
from tests.report.flow import ALIAS, FOUND, docker_pull, make_flow, refused_pull
from tests.report.html import Reader
from tests.report.test_hostile import HOSTILE

TOKEN = "0123456789abcdef"
PATHS = (
    *("/pulls", "/pulls.json", "/pulls.html", "/pulls/1.html", "/pulls/changes"),
    *("/pulls/live.js", "/pulls/live.css"),
)
type Look = Callable[..., requests.Response]


@pytest.fixture
def kept() -> Iterator[tuple[Board, Clock]]:
    """A board with a good pull and a bad one, and its clock."""
    with playing() as (board, clock):
        play(board, clock, [*docker_pull(), *refused_pull(at=9)])
        clock.now += 60
        board.look()
        yield board, clock


def look(
    board: Board,
    path: str,
    token: str | None = TOKEN,
    method: str = "GET",
    **options: object,
) -> requests.Response:
    """Return what the server answers."""

    def ask(port: int) -> requests.Response:
        with plain_session() as session:
            if token is not None:
                session.headers["Authorization"] = f"Bearer {token}"
            url = f"http://{LOOPBACK}:{port}{path}"
            return session.request(method, url, timeout=10, **options)  # type: ignore[arg-type]

    return serving(board, ask)


def serving[Result](board: Board, step: Callable[[int], Result]) -> Result:
    """Return what the step has, which is given the port of the page."""
    port = free_port()

    async def answer() -> Result:
        close = server.serve(board, (LOOPBACK, port), TOKEN)
        try:
            return await asyncio.to_thread(step, port)
        finally:
            close()

    return asyncio.run(answer())


def changes(board: Board, query: str = "") -> list[str]:
    """Return the HTML of the pulls that changed."""
    news = look(board, f"/pulls/changes?{query}").json()
    return [card["html"] for card in news["cards"]]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("token", [None, "", "0123456789abcdeX"])
def test_nobody_looks_without_the_token(
    kept: tuple[Board, Clock], path: str, token: str | None
) -> None:
    """Nothing of a pull, and not even the script, is for others (T15)."""
    answer = look(kept[0], path, token)
    assert answer.status_code == 403
    assert ALIAS not in answer.text
    assert answer.text.startswith("The page of pulls needs its token.")


@pytest.mark.parametrize("path", PATHS)
def test_browser_runs_only_our_script(kept: tuple[Board, Clock], path: str) -> None:
    """The policy holds for each answer, and none is kept or framed (T15)."""
    answer = look(kept[0], path)
    assert answer.status_code == 200
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe-inline" not in policy or path.endswith(".html")
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", PATHS)
def test_nothing_can_be_changed(
    kept: tuple[Board, Clock], path: str, method: str
) -> None:
    """The page only shows (T15)."""
    assert look(kept[0], path, method=method).status_code in (403, 405)


@pytest.mark.parametrize("path", PATHS)
def test_head(kept: tuple[Board, Clock], path: str) -> None:
    """HEAD has the head of GET."""
    answer = look(kept[0], path, method="HEAD")
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/pulls/3.html", 404),
        ("/pulls/x.html", 404),
        ("/pulls/of/" + "0" * 36, 404),
        ("/pulls/changes?after=x", 400),
        ("/pulls/changes?after=-1", 400),
        ("/pulls/changes?open=1;2", 400),
        ("/", 404),
    ],
)
def test_nonsense(kept: tuple[Board, Clock], path: str, status: int) -> None:
    """What is not there, or no number, has an answer without a traceback."""
    answer = look(kept[0], path)
    assert answer.status_code == status
    assert "Traceback" not in answer.text


def test_token_leaves_the_address(kept: tuple[Board, Clock]) -> None:
    """The address that the log names opens the page, and is not left in the bar."""
    answer = look(kept[0], f"/pulls?token={TOKEN}", None)
    assert answer.status_code == 200
    assert answer.url.endswith("/pulls")


def test_token_that_is_no_ascii(kept: tuple[Board, Clock]) -> None:
    """It is a wrong one like any other."""
    assert look(kept[0], "/pulls?token=%C3%BC", None).status_code == 403


def test_flow_leads_to_its_pull(kept: tuple[Board, Clock]) -> None:
    """Who has a request gets to the pull on the page."""
    board, _ = kept
    (request, *_) = board.cards()[0].pull.requests
    answer = look(board, f"/pulls/of/{request.id}", allow_redirects=False)
    assert answer.headers["Location"] == "/pulls#pull-2"


def test_state_for_programs(kept: tuple[Board, Clock]) -> None:
    """They are told what the page shows, the newest first."""
    state = look(kept[0], "/pulls.json").json()
    assert {*state} == {"version", "now", "pulls", "left_out", "others"}
    assert state["others"] == []
    bad, good = state["pulls"]
    assert (bad["id"], bad["result"], bad["is_over"]) == ("2", "refused", True)
    assert bad["reason"] == "balenablocks/browser has no release 9; its newest is 2.3.8"
    assert good["release"] == FOUND["release"]
    assert good["client"] == {
        "address": "192.0.2.7",
        "agent": "docker/20",
        "login": None,
    }
    assert good["bytes"] == good["total"] == 1_000_000
    token = next(r for r in good["requests"] if r["kind"] == Kind.TOKEN)
    assert [own["kind"] for own in token["own"]] == [
        *(OwnKind.RESOLUTION, OwnKind.GRANT)
    ]
    assert good["requests"][-1]["source"] == "registry"


def test_what_went_wrong_beside_pulls(kept: tuple[Board, Clock]) -> None:
    """Programs are told of a client that comes to no pull, and of no other request."""
    board, clock = kept
    lost = make_flow(Kind.BASE, Outcome.CHALLENGED, status=401, client="192.0.2.9")
    lost.metadata["balena"] |= {"fault": "realm", "finding": "why", "advice": "do it"}
    play(board, clock, [make_flow(Kind.BASE, status=200), lost])
    (other,) = look(board, "/pulls.json").json()["others"]
    assert other["client"] == {"address": "192.0.2.9", "agent": "docker/20"}
    assert (other["method"], other["path"]) == ("GET", "/v2/")
    assert (other["finding"], other["advice"]) == ("why", "do it")


def test_state_while_pulls_go_on(
    kept: tuple[Board, Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its version is that of the oldest pull in it: what comes later is news."""
    board, clock = kept
    version = board.version

    def pieces(_: Card) -> Iterator[bytes]:
        yield b"{"
        play(board, clock, refused_pull(at=90))
        yield b"}"

    monkeypatch.setattr(server, "pieces_of", pieces)
    state = look(board, "/pulls.json").json()
    assert state["version"] == version < board.version


def test_state_of_a_pull_that_goes_on_meanwhile(kept: tuple[Board, Clock]) -> None:
    """What was made of it before is not kept for the next one who asks."""
    board, clock = kept
    card = board.cards()[0]
    pieces = pieces_of(card)
    begin = next(pieces)
    play(board, clock, [make_flow(Kind.MANIFEST, at=9.4, target=FOUND)])
    assert card is board.cards()[0]
    assert len(json.loads(begin + b"".join(pieces))["requests"]) == 3
    assert len(json.loads(b"".join(pieces_of(card)))["requests"]) == 4


def test_state_of_a_long_pull_is_made_in_pieces() -> None:
    """None of them takes long, so clients have their turn between them (T15)."""
    with playing() as (board, clock):
        flows = [
            make_flow(Kind.BLOB, at=n / 100, digest=f"sha256:{n:064x}", seconds=0.001)
            for n in range(250)
        ]
        play(board, clock, flows)
        (card,) = board.cards()
        pieces = [*pieces_of(card)]
        assert len(pieces) == 5
        assert [*pieces_of(card)] == [b"".join(pieces)]
        (pull,) = look(board, "/pulls.json").json()["pulls"]
        assert len(pull["requests"]) == 250


def test_client_that_goes_away_within_the_state(
    kept: tuple[Board, Clock],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing more is made for it, and the log has nothing of it."""
    monkeypatch.setattr(server, "TURN_SECONDS", 0.0)
    board, _ = kept
    made: list[int] = []

    def pieces(_: Card) -> Iterator[bytes]:
        for number in range(10_000):
            made.append(number)
            yield b"0" * server.PIECE * 2

    monkeypatch.setattr(server, "pieces_of", pieces)
    port = free_port()

    def leave() -> None:
        with socket.create_connection((LOOPBACK, port), 10) as client:
            head = f"GET /pulls.json HTTP/1.1\r\nAuthorization: Bearer {TOKEN}"
            client.sendall(f"{head}\r\nHost: x\r\n\r\n".encode())
            assert client.recv(12) == b"HTTP/1.1 200"

    async def answer() -> None:
        close = server.serve(board, (LOOPBACK, port), TOKEN)
        try:
            await asyncio.to_thread(leave)
            async with asyncio.timeout(10):
                while len(asyncio.all_tasks()) > 1:
                    await asyncio.sleep(0)
        finally:
            close()

    asyncio.run(answer())
    assert len(made) < 1000
    assert not caplog.records


def test_card_has_its_requests_where_it_is_open(kept: tuple[Board, Clock]) -> None:
    """What nobody opened is not rendered."""
    board, _ = kept
    good, bad = changes(board, "after=0&open=2")
    assert "<table" not in good
    assert "<table" in bad
    card = Reader.read(bad)
    assert card.find("article", id="pull-2")
    told = "balenablocks/browser has no release 9; its newest is 2.3.8."
    assert card.find(class_="message")[0].text == told


def test_card_is_rendered_again_on_demand(kept: tuple[Board, Clock]) -> None:
    """A pull that is opened later has not changed, and is there all the same."""
    board, _ = kept
    (card,) = changes(board, f"after={board.version}&open=1&again=1")
    assert "<table" in card


def test_page_of_another_run_begins_anew(kept: tuple[Board, Clock]) -> None:
    """A version that was never reached is that of a proxy before."""
    assert len(changes(kept[0], "after=999999")) == 2


def test_report_of_one_pull(kept: tuple[Board, Clock]) -> None:
    """What is saved is the page of `registry-proxy report`, of this pull alone."""
    answer = look(kept[0], "/pulls/2.html")
    assert "attachment" in answer.headers["Content-Disposition"]
    page = Reader.read(answer.text)
    assert [each.attributes["id"] for each in page.find("section", class_="pull")] == [
        "pull-2"
    ]
    assert look(kept[0], "/pulls.html").text.count('<section class="pull"') == 2


def test_report_of_very_many_is_bounded(
    kept: tuple[Board, Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the latest pulls, and says how many it has not."""
    monkeypatch.setattr("live.board.REPORT_MAX", 4)
    page = Reader.read(look(kept[0], "/pulls.html").text)
    assert page.one("section", class_="pull").attributes["id"] == "pull-2"
    assert page.one("p", id="left-out").text == "1 older pull is left out."


def test_empty_board_has_no_report() -> None:
    """There is nothing to save before the first pull."""
    with playing() as (board, _):
        assert look(board, "/pulls.html").status_code == 404
        assert look(board, "/pulls.json").json()["pulls"] == []


def test_hostile_pull() -> None:
    """Markup in whatever a client or registry chose is text on the page (T15)."""
    facts = {
        "message": HOSTILE,
        "code": HOSTILE,
        "finding": HOSTILE,
        "failure": HOSTILE,
    }
    target = {"alias": HOSTILE, "release": HOSTILE, "commit": HOSTILE}
    assert AliasRecord.from_dict(target)
    with playing() as (board, clock):
        for kind in (Kind.TOKEN, Kind.MANIFEST, Kind.BLOB, Kind.OTHER):
            flow = make_flow(
                kind, Outcome.FAILED, alias=HOSTILE, target=target, comment=HOSTILE
            )
            flow.metadata["balena"] |= {**facts, "advice": HOSTILE, "path": HOSTILE}
            flow.request.headers["User-Agent"] = HOSTILE.replace(" ", "")
            flow.client_conn.peername = (HOSTILE, 1)
            play(board, clock, [flow])
        news = look(board, "/pulls/changes?after=0&open=1").json()
        state = look(board, "/pulls.json").text
    html = "".join([*(card["html"] for card in news["cards"]), news["others"]])
    shown = Reader.read(html)
    assert not shown.find("script")
    assert not shown.find("img")
    assert not [n for one in shown.all() for n in one.attributes if n[:2] == "on"]
    assert not [one for one in shown.all() if "style" in one.attributes]
    assert HOSTILE in shown.one("article").text
    assert json.loads(state)["pulls"][0]["name"] == HOSTILE


def test_card_of_a_long_pull_is_bounded() -> None:
    """A pull with thousands of requests has a card of a few hundred kilobytes."""
    with playing() as (board, clock):
        flows = [
            make_flow(Kind.BLOB, at=n / 100, digest=f"sha256:{n:064x}", seconds=0.001)
            for n in range(1500)
        ]
        play(board, clock, flows)
        (card,) = changes(board, "after=0&open=1")
    assert len(card) < 400_000
    assert "1300 more are left out." in card


@pytest.mark.parametrize(
    "sources", ["11 1", "11 22 3"], ids=["of one address", "of all"]
)
def test_connections_are_bounded(
    kept: tuple[Board, Clock], monkeypatch: pytest.MonkeyPatch, sources: str
) -> None:
    """Of too many the one goes that waits longest, and the page can be opened (T15)."""
    monkeypatch.setattr(server, "CONNECTIONS_MAX", 4)

    def connect(port: int) -> None:
        with ExitStack() as stack:
            held = [
                stack.enter_context(
                    socket.create_connection(
                        (LOOPBACK, port), 10, (f"127.0.0.{source}", 0)
                    )
                )
                for source in sources.replace(" ", "")
            ]
            assert held[0].recv(1) == b""
            for each in held[1:]:
                each.sendall(b"GET /pulls HTTP/1.1\r\nHost: x\r\n\r\n")
                assert each.recv(12) == b"HTTP/1.1 403"

    serving(kept[0], connect)


def test_connection_in_use_is_not_closed(
    kept: tuple[Board, Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits for an answer gets it, however many others come (T15)."""
    monkeypatch.setattr(server, "CONNECTIONS_MAX", 4)
    begun, come = threading.Semaphore(0), threading.Event()

    async def wait(_: server.PageHandler) -> None:
        begun.release()
        await asyncio.to_thread(come.wait, 10)

    monkeypatch.setattr(server.PageHandler, "get", wait)

    def connect(port: int) -> None:
        with ExitStack() as stack:
            held = [
                stack.enter_context(socket.create_connection((LOOPBACK, port), 10))
                for _ in range(2)
            ]
            for each in held:
                each.sendall(b"GET /pulls HTTP/1.1\r\nHost: x\r\n\r\n")
                assert begun.acquire(timeout=10)
            with socket.create_connection((LOOPBACK, port), 10) as late:
                assert late.recv(1) == b""
            come.set()
            for each in held:
                assert each.recv(12) == b"HTTP/1.1 200"

    serving(kept[0], connect)


def test_end_closes_connections(kept: tuple[Board, Clock]) -> None:
    """A page that is open does not keep the server, which listens no longer."""
    board, _ = kept
    port = free_port()

    async def steps() -> bytes:
        close = server.serve(board, (LOOPBACK, port), TOKEN)
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(b"GET /pulls HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n")
        close()
        async with asyncio.timeout(10):
            rest = await reader.read()
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(LOOPBACK, port)
        return rest

    assert asyncio.run(steps()).startswith(b"The page of pulls needs its token.")


def test_port_that_is_taken() -> None:
    """Who starts the server is told."""
    with playing() as (board, _):
        port = free_port()

        async def twice() -> None:
            close = server.serve(board, (LOOPBACK, port), TOKEN)
            try:
                server.serve(board, (LOOPBACK, port), TOKEN)
            finally:
                close()

        with pytest.raises(OSError, match="in use"):
            asyncio.run(twice())


@pytest.mark.parametrize("field", ["Transfer-Encoding: chunked", "Content-Length: 5"])
def test_request_with_a_body_is_refused_at_its_head(
    kept: tuple[Board, Clock], field: str
) -> None:
    """Whoever announces a body and sends none holds no connection."""

    def announce(port: int) -> bytes:
        with socket.create_connection((LOOPBACK, port), 10) as sent:
            head = f"GET /pulls HTTP/1.1\r\nHost: x\r\n{field}\r\n\r\n"
            sent.sendall(head.encode())
            return b"".join(iter(lambda: sent.recv(1000), b""))

    assert serving(kept[0], announce) == b"HTTP/1.1 400 Bad Request\r\n\r\n"
