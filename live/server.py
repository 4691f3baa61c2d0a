"""The page of pulls over HTTP: in mitmweb, or from a server of its own.

Nothing can be changed with it, and whoever asks needs a token: mitmweb's, or the
page's own.
"""

import asyncio
import hashlib
import hmac
import json
import logging
import re
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from mitmproxy import version
from mitmproxy.tools.web.app import RequestHandler
from tornado import httpserver, httputil, iostream, web

from live.board import Board, Card
from live.state import PATH, describe, other_state, pieces_of
from mitm.version import VERSION
from report import page
from report.page import Page

logger = logging.getLogger("balena")

BOARD, FLOWS = "balena_board", "balena_flows"
"""By which names an application has the board, and the address of mitmweb's flows."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
OPEN_MAX = 20
"""Pulls of which the requests are rendered for one page."""
TURN_SECONDS = 0.005
"""After which clients have a turn, before more of the page is made."""
PIECE = 64 << 10
"""Bytes that are sent together, and not kept for a client that reads slowly."""
CONNECTIONS_MAX = 64
"""Of a server of its own; half as many of one address."""
HEAD_LENGTH_MAX = 16 << 10
IDLE_SECONDS = 60
BODY_SECONDS = 5
"""Within which the end of a body comes, of which there is none."""
UNAUTHORIZED = (
    "The page of pulls needs its token. Open the address that the proxy's log names at"
    " the start, or send the header Authorization: Bearer <token>.\n"
)
_FOLDER = Path(__file__).parent
_ENVIRONMENT = page.make_environment(_FOLDER)
_ENVIRONMENT.globals["describe"] = describe
for _name in ("live", "card", "totals", "others"):
    _ENVIRONMENT.get_template(f"{_name}.html.j2")  # No client waits for that later.
_NUMBERS = re.compile(r"(?:[0-9]{1,9},)*[0-9]{1,9}|", re.ASCII)
_report = asyncio.Lock()
"""Held while a report is made: it takes as much memory as the board."""


class Handler(RequestHandler):
    """Answers who has the token."""

    def set_default_headers(self) -> None:
        """Let nothing run or be loaded that is not of this page, nor be kept."""
        super().set_default_headers()  # type: ignore[no-untyped-call]
        for name, value in {
            "Content-Security-Policy": POLICY,
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cache-Control": "no-store",
        }.items():
            self.set_header(name, value)

    def auth_fail(self, _has_wrong_one: bool) -> None:  # noqa: FBT001 - mitmproxy's
        """Say what is missing."""
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        self.write(UNAUTHORIZED)

    def compute_etag(self) -> str | None:
        """Return none, because nothing is kept that could be asked for again."""
        return None

    def log_exception(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Log a bug without the request, which may have the token in it."""
        if not isinstance(error, web.HTTPError):
            logger.error("a bug of the page of pulls", exc_info=error)

    @property
    def board(self) -> Board:
        """What it shows."""
        board: Board = self.settings[BOARD]
        return board


class PageHandler(Handler):
    """The page, without its pulls, which it asks for."""

    def get(self) -> None:
        """Answer with the page; where the address has a token, lead to one without."""
        if self.get_query_argument("token", ""):
            self.redirect(PATH)
            return
        flows = self.settings[FLOWS]
        self.write(_render("live.html.j2", flows=flows, versions=(VERSION, _MITMPROXY)))

    head = get


class ChangesHandler(Handler):
    """What changed since the page was last told."""

    async def get(self) -> None:
        """Answer with the pulls that changed, as HTML, and which there are."""
        board = self.board
        after = int(_number(self.get_query_argument("after", "0")))
        opened = set(_numbers(self.get_query_argument("open", ""))[:OPEN_MAX])
        if after > board.version:  # Those of another run.
            after = 0
        changed, reached = board.changes(after)
        wanted = {card.id: card for card in changed}
        for number in _numbers(self.get_query_argument("again", ""))[:OPEN_MAX]:
            if card := board.card(number):
                wanted[number] = card
        is_more = reached < board.version
        cards = [each async for each in self._cards(wanted.values(), opened)]
        async for card in _in_turns(board.cards()):
            card.count()
        answer: dict[str, Any] = {
            "run": RUN,
            "version": reached,
            "is_more": is_more,
            "totals": _render("totals.html.j2", counts=board.counts),
            "cards": cards,
        }
        if board.gone > after:
            answer["ids"] = [card.id for card in board.cards()]
        if board.others_changed > after:
            answer["others"] = _render("others.html.j2", others=board.others)
        self.write(answer)

    head = get

    async def _cards(
        self, changed: Iterable[Card], opened: set[str]
    ) -> AsyncIterator[dict[str, str]]:
        flows = self.settings[FLOWS]
        async for card in _in_turns(changed):
            html = _render(
                "card.html.j2", card=card, is_open=card.id in opened, flows=flows
            )
            yield {"id": card.id, "html": html}


class StateHandler(Handler):
    """The same for programs."""

    async def get(self) -> None:
        """Answer with every pull, the newest first."""
        board = self.board
        board.look()
        version = board.version  # What changes meanwhile is told again.
        head = {"version": version, "now": time.time(), "left_out": board.left_out}
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.write(f'{json.dumps(head)[:-1]}, "pulls": [')
        try:
            await self._send(_joined(board.cards()))
        except iostream.StreamClosedError:  # Who asked is gone.
            return
        others = json.dumps([*map(other_state, board.others.bad)])
        self.write(f'], "others": {others}}}')

    async def _send(self, pieces: Iterable[bytes]) -> None:
        size = 0
        async for piece in _in_turns(pieces):
            self.write(piece)
            size += len(piece)
            if size > PIECE:
                await self.flush()
                size = 0

    head = get


class ReportHandler(Handler):
    """The page that `registry-proxy report` makes, of these pulls."""

    async def get(self, number: str = "") -> None:
        """Answer with the report of one pull, or of all."""
        board = self.board
        card = board.card(number) if number else None
        if number and card is None:
            raise web.HTTPError(404)
        cards = [card] if card else board.cards()
        board.look(len(cards))
        recording, groups = board.recording(cards, with_others=not number)
        if not recording.requests:
            raise web.HTTPError(404)
        async with _report:
            made = await asyncio.to_thread(page.render, Page(recording, groups))
        name = f"pull-{number}.html" if number else "pulls.html"
        self.set_header("Content-Disposition", f'attachment; filename="{name}"')
        self.set_header(
            "Content-Security-Policy", POLICY.replace("style-src 'self'", _STYLED)
        )
        self.write(made)

    head = get


class OfFlowHandler(Handler):
    """Leads from a flow to its pull."""

    def get(self, flow: str) -> None:
        """Redirect to the pull on the page."""
        card = self.board.find(flow)
        if card is None:
            raise web.HTTPError(404)
        self.redirect(f"{PATH}#pull-{card.id}")

    head = get


class FileHandler(Handler):
    """The script and the styles."""

    def initialize(self, content: bytes, media_type: str) -> None:
        """Take what is answered."""
        self._content, self._media_type = content, media_type

    def get(self) -> None:
        """Answer with it."""
        self.set_header("Content-Type", f"{self._media_type}; charset=UTF-8")
        self.write(self._content)

    head = get


_MITMPROXY = version.VERSION
_STYLED = "style-src 'unsafe-inline'"
"""The report has its styles in it, to be one file."""
COOKIE = "registry-proxy-pulls"
RUN = secrets.token_hex(8)
"""By which a page sees that the proxy was started anew."""
STYLES = (Path(page.__file__).with_name("page.css"), _FOLDER / "live.css")
ROUTES: list[tuple[Any, ...]] = [
    (PATH, PageHandler),
    (rf"{PATH}\.json", StateHandler),
    (rf"{PATH}\.html", ReportHandler),
    (rf"{PATH}/([0-9]{{1,9}})\.html", ReportHandler),
    (rf"{PATH}/changes", ChangesHandler),
    (rf"{PATH}/of/([0-9a-f-]{{36}})", OfFlowHandler),
    (
        rf"{PATH}/live\.js",
        FileHandler,
        {
            "content": (_FOLDER / "live.js").read_bytes(),
            "media_type": "text/javascript",
        },
    ),
    (
        rf"{PATH}/live\.css",
        FileHandler,
        {
            "content": b"\n".join(path.read_bytes() for path in STYLES),
            "media_type": "text/css",
        },
    ),
]


def attach(application: web.Application, board: Board) -> None:
    """Let mitmweb have the page, behind its own token."""
    is_there = BOARD in application.settings
    application.settings |= {BOARD: board, FLOWS: "/#/flows/"}
    if not is_there:
        application.add_handlers(".*", ROUTES)


class Server(httpserver.HTTPServer):
    """A server of the page alone, of which nobody can take too much."""

    def initialize(self, *args: Any, **options: Any) -> None:
        """Take what tornado's server takes."""
        super().initialize(*args, **options)
        self._streams: dict[iostream.IOStream, Any] = {}
        """The open ones, and whose each is; those that wait longest come first."""
        self._busy: set[iostream.IOStream] = set()
        """Those with a request that is being answered."""

    def handle_stream(self, stream: iostream.IOStream, address: tuple[Any]) -> None:
        """Serve a connection, if there is room, or one less that nobody uses."""
        mine = [each for each, whose in self._streams.items() if whose == address[0]]
        is_full = 2 * len(mine) >= CONNECTIONS_MAX
        if is_full or len(self._streams) >= CONNECTIONS_MAX:
            some = mine if is_full else self._streams
            unused = next((each for each in some if each not in self._busy), None)
            if unused is None:
                stream.close()
                return
            del self._streams[unused]
            unused.close()
        self._streams[stream] = address[0]
        super().handle_stream(stream, address)

    def start_request(
        self, server_conn: Any, request_conn: httputil.HTTPConnection
    ) -> httputil.HTTPMessageDelegate:
        """Serve a request, unless it has a body, which none here needs."""
        stream = server_conn.stream
        self._busy.discard(stream)
        if stream in self._streams:
            self._streams[stream] = self._streams.pop(stream)
        delegate = super().start_request(server_conn, request_conn)
        return _Bodiless(delegate, lambda: self._busy.add(stream))

    def on_close(self, server_conn: Any) -> None:
        """Take note that a connection is closed."""
        self._streams.pop(server_conn.stream, None)
        self._busy.discard(server_conn.stream)
        super().on_close(server_conn)

    def end(self) -> None:
        """Listen no longer, and close every connection."""
        self.stop()
        for stream in [*self._streams]:
            stream.close()


class _Bodiless(httputil.HTTPMessageDelegate):
    """Hands a request on that has no body, and refuses any other at its head."""

    def __init__(
        self, delegate: httputil.HTTPMessageDelegate, begin: Callable[[], None]
    ) -> None:
        self._delegate, self._begin = delegate, begin

    def headers_received(
        self,
        start_line: httputil.RequestStartLine | httputil.ResponseStartLine,
        headers: httputil.HTTPHeaders,
    ) -> Awaitable[None] | None:
        """Take the head of the request."""
        if "Transfer-Encoding" in headers or headers.get("Content-Length", "0") != "0":
            raise httputil.HTTPInputError("no request to this page has a body")
        self._begin()
        return self._delegate.headers_received(start_line, headers)

    def finish(self) -> None:
        """Let the request be answered."""
        self._delegate.finish()

    def on_connection_close(self) -> None:
        """Let the answer be given up, because nobody is there."""
        self._delegate.on_connection_close()


def serve(board: Board, address: tuple[str, int], token: str) -> Callable[[], None]:
    """Show the page at the address, to who has the token; return what ends that.

    Raises:
        OSError: nobody can listen there.

    """
    host, port = address

    def is_valid(password: str) -> bool:
        return hmac.compare_digest(token.encode(), password.encode())

    application = web.Application(
        ROUTES,
        # The same after another start with the same token, so that the page goes on.
        cookie_secret=hashlib.sha256(f"{COOKIE} {token}".encode()).digest(),
        xsrf_cookies=True,
        is_valid_password=is_valid,
        auth_cookie_name=lambda: f"{COOKIE}-{port}",
        # A line has the address of the request, and the token may be in it.
        log_function=lambda _: None,
    )
    application.settings |= {BOARD: board, FLOWS: ""}
    server = Server(
        application,
        max_header_size=HEAD_LENGTH_MAX,
        max_body_size=0,
        body_timeout=BODY_SECONDS,
        idle_connection_timeout=IDLE_SECONDS,
    )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # tornado's own way keeps the socket where nobody can listen there.
    listener = socket.create_server(address, family=family)
    listener.setblocking(False)  # noqa: FBT003 - its only parameter
    server.add_socket(listener)
    return server.end


def _render(template: str, **values: object) -> str:
    return _ENVIRONMENT.get_template(template).render(**values)


def _joined(cards: Iterable[Card]) -> Iterator[bytes]:
    """Yield the pulls as JSON, with commas between them."""
    for number, card in enumerate(cards):
        if number:
            yield b","
        yield from pieces_of(card)


async def _in_turns[T](items: Iterable[T]) -> AsyncIterator[T]:
    """Yield the items, and let clients have a turn now and then."""
    begin = time.monotonic()
    for item in items:
        yield item
        if time.monotonic() - begin > TURN_SECONDS:
            await asyncio.sleep(0)
            begin = time.monotonic()


def _number(text: str) -> str:
    """Return the text, if it is a number."""
    (number, *_) = [*_numbers(text), "0"]
    return number


def _numbers(text: str) -> list[str]:
    """Return the numbers in the text, between commas."""
    if not _NUMBERS.fullmatch(text):
        raise web.HTTPError(400)
    return text.split(",") if text else []
