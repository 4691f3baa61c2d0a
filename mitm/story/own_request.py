"""The proxy's own requests, shown as flows beside those of clients.

To answer a request the resolver asks registry and API by itself, past mitmproxy.
Somebody who wants to see why a pull fails wants to see that too; where nobody looks,
no flow is made.
"""

import asyncio
import re
from contextvars import ContextVar
from http import HTTPStatus
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from mitmproxy import connection, ctx, eventsequence, flow, http

from mitm import redaction
from mitm.story import words
from mitm.story.audience import Audience, tell
from mitm.story.kind import OWN_KINDS, Outcome, OwnKind
from mitm.story.quantity import describe_size
from mitm.story.record import KEY, Record
from resolver.grammar.challenge import TOKEN_PATH
from resolver.grammar.secret import REDACTED
from resolver.token.realm import HEADERS
from resolver.upstream.observer import Call, Event

_REGISTRY = "/v2/"
"""How paths begin that a registry has; a storage has none of them."""
_SLUG = re.compile(r"slug(?:%20| )eq(?:%20| )'([^']+)'")
_ASKED = {
    "),owns__release(": "the target and the greatest releases",
    "should_be_running__release": "the target release",
}
"""What a query of `resolver.release.query` with that part in it is for."""
_WATCHERS = ("view", "save", "savehar")
"""What shows or saves flows; mitmdump has it only where it has to (`guard.idle`)."""
_DROPPED_HEADERS = frozenset({"content-encoding", "transfer-encoding", "set-cookie"})
"""The body is the decoded one."""

served: ContextVar[http.HTTPFlow | None] = ContextVar("served", default=None)
"""The client's flow that is being answered."""

hidden: ContextVar[bool] = ContextVar("hidden", default=False)
"""Whether what is asked for now is nothing that a client waits for."""


def is_watched() -> bool:
    """Return whether anybody looks at flows, or saves them."""
    # A list without flows counts as false.
    return any(ctx.master.addons.get(name) is not None for name in _WATCHERS)


class OwnRequests:
    """Shows each call of the resolver; an `Observer` of it."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._shown: set[asyncio.Task[None]] = set()
        self._audience: Audience | None = None

    def use(self, loop: asyncio.AbstractEventLoop) -> None:
        """Show flows in this event loop, which is mitmproxy's."""
        self._loop = loop

    def seat(self, audience: Audience | None) -> None:
        """Show the calls to the audience too; with None to nobody but addons."""
        self._audience = audience

    def note(self, event: Event) -> None:
        """Show a call; in the context of whoever asked, mostly in a worker thread."""
        if hidden.get() or not self._loop:
            return
        if isinstance(event, Call) and (self._audience or is_watched()):
            self._loop.call_soon_threadsafe(self._show, event, served.get())

    def _show(self, call: Call, asked_for: http.HTTPFlow | None) -> None:
        shown = make_flow(call, asked_for)
        if record := Record.read(shown):
            tell(self._audience, shown, record)
        if not is_watched():
            return
        task = asyncio.get_running_loop().create_task(_announce(shown))
        self._shown.add(task)
        task.add_done_callback(self._shown.discard)


def is_own(shown: flow.Flow) -> bool:
    """Return whether the flow is one of the proxy's own requests."""
    state = shown.metadata.get(KEY)
    return isinstance(state, dict) and state.get("kind") in OWN_KINDS


def make_flow(call: Call, asked_for: http.HTTPFlow | None) -> http.HTTPFlow:
    """Return the flow of a call.

    Args:
        call: what was asked, and what came of it.
        asked_for: the client's request that it was made for.

    """
    parts = urlsplit(call.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    shown = http.HTTPFlow(
        _client(asked_for), connection.Server(address=(parts.hostname or "", port))
    )
    shown.request = http.Request.make(
        call.method, _url(call), headers=_request_headers(call)
    )
    shown.request.timestamp_start = shown.request.timestamp_end = call.begin
    if call.status is None:
        shown.error = flow.Error(call.failure, call.end)
    else:
        shown.response = http.Response.make(call.status, _body(call), _headers(call))
        shown.response.timestamp_start = shown.response.timestamp_end = call.end
    kind = _kind(call)
    outcome = _outcome(kind, call.status)
    client = Record.read(asked_for) if asked_for else None
    record = Record(client.request_id if client else "", kind=kind, outcome=outcome)
    record.alias, record.failure = call.purpose or None, call.failure or None
    if kind is OwnKind.SEARCH and not parts.path.startswith(_REGISTRY):
        record.storage = parts.hostname
    record.bytes, record.seconds = len(call.body), round(call.end - call.begin, 4)
    record.save(shown)
    shown.marked = "" if outcome is Outcome.SERVED else words.MARK
    shown.comment = f"{_words(kind, parts, is_relayed=call.is_grant)}: {_result(call)}"
    return shown


async def _announce(shown: http.HTTPFlow) -> None:
    """Let mitmproxy's addons see the flow, as if it had been read from a file."""
    # It is over already, whatever mitmproxy is told to hold back.
    shown.intercept = lambda: None  # type: ignore[method-assign]
    for event in eventsequence.iterate(shown):
        await ctx.master.addons.handle_lifecycle(event)


def _client(asked_for: http.HTTPFlow | None) -> connection.Client:
    """Return the client that the request was made for, or nobody."""
    if asked_for is None:
        return connection.Client(peername=("", 0), sockname=("", 0))
    return asked_for.client_conn.copy()


def _url(call: Call) -> str:
    """Return the URL as it is shown; that of a storage may be signed."""
    if call.is_search:
        return _unsigned(call.url)
    if call.is_grant and not ctx.options.balena_show_secrets:
        return redaction.redacted_query(call.url)
    return call.url


def _unsigned(url: str) -> str:
    if ctx.options.balena_show_secrets:
        return url
    return redaction.without_signature(url)


def _kind(call: Call) -> OwnKind:
    path = urlsplit(call.url).path
    if call.is_search:
        return OwnKind.SEARCH
    if call.is_grant or path == TOKEN_PATH:
        return OwnKind.GRANT
    if path == _REGISTRY:
        return OwnKind.PROBE
    return OwnKind.CHOICE if path.startswith(_REGISTRY) else OwnKind.RESOLUTION


def _outcome(kind: OwnKind, status: int | None) -> Outcome:
    match kind, status:
        # The probe wants nothing but the challenge.
        case (_, HTTPStatus.OK) | (OwnKind.PROBE, HTTPStatus.UNAUTHORIZED):
            return Outcome.SERVED
        case (OwnKind.CHOICE, int()) if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return Outcome.SERVED  # That it is elsewhere is an answer, too.
        case (_, HTTPStatus.UNAUTHORIZED):
            return Outcome.UNAUTHORIZED
        case (_, HTTPStatus.TOO_MANY_REQUESTS):
            return Outcome.LIMITED
        case (OwnKind.SEARCH, int()) if status < HTTPStatus.BAD_REQUEST:
            return Outcome.SERVED
    return Outcome.FAILED


def _words(kind: OwnKind, url: SplitResult, *, is_relayed: bool) -> str:
    query = url.query
    match kind:
        case OwnKind.SEARCH:
            return f"asked {url.hostname} where the blob is"
        case OwnKind.PROBE:
            return "asked the registry where its tokens are issued"
        case OwnKind.GRANT:
            return f"asked {url.hostname if is_relayed else 'the API'} for a token"
        case OwnKind.CHOICE:
            return "asked the registry whether it is here"
    what = next((words for part, words in _ASKED.items() if part in query), "releases")
    slug = _SLUG.search(query)
    return f"asked the API for {what}" + (f" of {unquote(slug[1])}" if slug else "")


def _result(call: Call) -> str:
    seconds = f"in {call.end - call.begin:.3f} s"
    if call.status is None:
        return f"no answer {seconds}, {call.failure}"
    if call.is_search:
        return f"{call.status}, {seconds}"
    return f"{call.status}, {describe_size(len(call.body))} {seconds}"


def _request_headers(call: Call) -> http.Headers:
    if call.authorization is None:
        return http.Headers()
    scheme = call.authorization.partition(" ")[0]
    shown = f"{scheme} {REDACTED}"
    if ctx.options.balena_show_secrets:
        shown = call.authorization
    return http.Headers(Authorization=shown)


def _headers(call: Call) -> http.Headers:
    return http.Headers(
        [
            (name.encode("latin-1"), _shown(call, name, value))
            for name, value in call.headers
            if _has_place(call, name.lower())
        ]
    )


def _has_place(call: Call, name: str) -> bool:
    """Return whether a header is shown; of a realm's answer, where clients get it."""
    is_shown = not call.is_grant or name in HEADERS or name == "location"
    return is_shown and name not in _DROPPED_HEADERS


def _shown(call: Call, name: str, value: str) -> bytes:
    shown = _unsigned(value) if name.lower() == "location" else value
    return _without_login(shown.encode("latin-1"), call)


def _without_login(said: bytes, call: Call) -> bytes:
    if ctx.options.balena_show_secrets:
        return said
    if call.is_grant:
        sent = parse_qsl(urlsplit(call.url).query)
        return redaction.without_request(said, call.authorization, sent)
    return redaction.without_login(said, call.authorization)


def _body(call: Call) -> bytes:
    if ctx.options.balena_show_secrets:
        return call.body
    # An error says what is wrong; anything else may be a token.
    is_error = (call.status or 0) >= HTTPStatus.BAD_REQUEST
    if _kind(call) is OwnKind.GRANT and not is_error:
        return redaction.redacted_answer(call.body)
    if call.method == "POST":
        # It may repeat the login of the form; the client's own flow shows it without.
        return REDACTED.encode()
    return _without_login(call.body, call)
