"""The words for what happened: a flow's comment, and phrases that others share.

mitmproxy's interfaces show the comment beside each flow, so that a pull reads like a
story. No key and no token is in it (rule R15).
"""

import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple

from mitmproxy import http

from cause.finding import Finding
from cause.judge import judge
from mitm.story import evidence
from mitm.story.alias import AliasRecord, selector_of
from mitm.story.kind import REFUSALS_AND_FAILURES, Kind, Login, Mover, Outcome
from mitm.story.quantity import describe_size
from mitm.story.record import COMMIT_LENGTH, DIGEST_LENGTH, SEPARATOR, Record
from resolver.grammar import payload
from resolver.grammar.reference import LOCATION_LENGTH, printable
from resolver.grammar.secret import without_secrets
from resolver.upstream.observer import CacheState

logger = logging.getLogger(__name__)

MARK = ":x:"
"""What mitmproxy's interfaces show beside refused and failed flows."""
MESSAGE_LENGTH_MAX = 300
"""Characters of a registry's own message."""
BASE = "ping"
HEALTH_CHECK = "health check"
_GONE = "Client disconnected."
"""How mitmproxy says that it went away."""
_REDIRECTS = range(300, 400)


class Wording(NamedTuple):
    """The same, said in two ways."""

    brief: str
    """In a table."""
    whole: str
    """In a sentence."""


CACHES: Mapping[CacheState, Wording] = {
    CacheState.HIT: Wording(
        "remembered, the API was not asked for it",
        "That was remembered, so the API was not asked for it",
    ),
    CacheState.MISS: Wording(
        "the API was asked", "The API was asked for it, and it is remembered now"
    ),
    CacheState.SHARED: Wording(
        "the API was being asked by another request",
        "Another client was just asking the API for it",
    ),
    CacheState.STALE: Wording(
        "the API failed, and what was remembered served beyond its time",
        "The API fails, so what was remembered served beyond its time",
    ),
}
BLOBS: Mapping[CacheState, Wording] = {
    CacheState.HIT: Wording(
        "from the cache",
        "It came from the proxy's cache; neither registry nor storage sent it",
    ),
    CacheState.SHARED: Wording(
        "shared with another client",
        "Another client was just getting it, so the proxy fetched it once for both",
    ),
    CacheState.MISS: Wording(
        "fetched into the cache",
        "The proxy fetched it, and keeps it in its cache for those who ask later",
    ),
}
"""Where a blob comes from that the cache has a part in."""
MOVERS: Mapping[Mover, str] = {
    Mover.NGINX: "left to nginx",
    Mover.NGINX_FETCH: "left to nginx to fetch",
}
LOGINS: Mapping[Login, Wording] = {
    Login.NONE: Wording("none, so only what is public is there", "without a login"),
    Login.KEY: Wording("a password or key", "with a user name and a password or key"),
    Login.TOKEN: Wording("a token", "with a key or session token as Bearer"),
}


def begin(flow: http.HTTPFlow, record: Record) -> None:
    """Say what is asked for, as long as there is no more to say."""
    flow.comment = f"{_subject(record)}: waiting for an answer"
    record.save(flow)


def tell_streaming(flow: http.HTTPFlow, record: Record) -> None:
    """Say that the answer is on its way."""
    flow.comment = f"{record.subject}: being streamed"


def tell_unread(flow: http.HTTPFlow, failure: str) -> None:
    """Say why a request was not even read."""
    flow.comment = f"failed: {failure}"
    flow.marked = MARK


def tell(flow: http.HTTPFlow, record: Record) -> None:
    """Say how the request ended, and why if it went wrong."""
    record.code, record.message = _error(flow, record)
    if found := _find(flow, record):
        record.blame(found)
    record.save(flow)
    flow.comment = describe(record)
    is_bad = record.outcome in REFUSALS_AND_FAILURES and not record.is_optional
    flow.marked = MARK if is_bad or record.fault else ""


def _find(flow: http.HTTPFlow, record: Record) -> Finding | None:
    """Return what is wrong with a request, if anything is; it never costs the request.

    Rules read what others write, and a bug in one of them is none of the client's.
    """
    try:
        seen = evidence.gather(flow, record)
        return judge(seen) if seen else None
    except Exception:
        logger.exception("a bug of this proxy")
        return None


def describe(record: Record) -> str:
    """Return the comment of a request that is over, with what is wrong if that is."""
    comment = _describe(record)
    if record.fault is None or not record.finding or record.finding in comment:
        return comment
    return f"{comment}; {record.finding}"


def _describe(record: Record) -> str:
    """Return how a request ended."""
    if record.failure:
        return _failure(record, record.failure)
    if record.outcome is Outcome.CHALLENGED:
        what = "log in" if record.wants_login else "get a token here"
        return f"{_subject(record)}: told the client to {what}"
    if record.outcome in REFUSALS_AND_FAILURES and not record.refused:
        word = "failed" if record.outcome is Outcome.FAILED else "refused"
        seen = f"{_subject(record)}: {record.finding or record.status}"
        # What a client was told of a failure names nobody.
        is_vague = record.outcome is Outcome.FAILED and record.finding
        return f"{word}: {seen if is_vague else record.message or seen}"
    return _COMMENTS.get(record.kind, _other)(record)


def no_answer(record: Record) -> str:
    """Say whose fault it is that there is no answer, or none to its end."""
    if record.outcome is Outcome.ABORTED:
        # mitmproxy's own words say nothing more.
        more = "" if record.failure == _GONE else f", {record.failure}"
        return f"the client went away{more}"
    return f"not answered by the {server(record)}, {record.failure}"


def sender(record: Record) -> str:
    """Say who sends the answer."""
    if record.cache:
        return "cache"
    if record.kind is Kind.TOKEN:
        return "token server"
    return "storage" if record.storage else "registry"


def server(record: Record) -> str:
    """Say who sends the answer, and at which host."""
    host = "of blobs" if record.cache else record.host or record.storage or ""
    return f"{sender(record)} {host}".rstrip()


def describe_release(target: AliasRecord) -> str:
    """Say which release it is."""
    return f"{target.release} (commit {(target.commit or '')[:COMMIT_LENGTH]})"


def begin_of_location(target: AliasRecord) -> str:
    """Return as much of the location as is shown."""
    return (target.location or "")[:LOCATION_LENGTH]


def _error(flow: http.HTTPFlow, record: Record) -> tuple[str | None, str | None]:
    """Return code and message of the error that the client was told, if any."""
    if record.error:
        return str(record.error.code), record.error.message
    if refused := record.refused:
        codes = sorted({each.code or "" for each in refused})
        return SEPARATOR.join(codes), "; ".join(each.message or "" for each in refused)
    if flow.response and flow.response.status_code >= HTTPStatus.BAD_REQUEST:
        body = flow.response.raw_content or b""
        if error := payload.read_error(body):
            # A registry's own words do not say of what.
            message = printable(without_secrets(error[1][:MESSAGE_LENGTH_MAX]))
            return printable(error[0]), f"{record.subject}: {message}"
    return None, None


def _failure(record: Record, failure: str) -> str:
    """Say why there is no answer, or none to its end."""
    size = f" after {describe_size(record.bytes)}" if record.bytes else ""
    if record.outcome is Outcome.ABORTED:
        return f"{_subject(record)}: the client went away{size}"
    return f"failed: {_subject(record)}: {record.finding or f'{failure}{size}'}"


def _subject(record: Record) -> str:
    """Return what was asked for, in words."""
    match record.kind:
        case Kind.BASE:
            return BASE
        case Kind.TOKEN:
            return f"token for {record.alias or 'no repository'}"
        case Kind.READY:
            return HEALTH_CHECK
    return record.subject


def _token(record: Record) -> str:
    """Say which releases the token is for, and what was refused."""
    parts = [
        f"token for {each.alias} → {describe_release(each)}"
        f" → {begin_of_location(each)}…"
        for each in record.found
    ]
    parts += [
        f"{each.tagged} releases of {each.alias} to select by tag"
        for each in record.tagged
    ]
    parts += [f"refused: {each.message}" for each in record.refused]
    if parts:
        return "; ".join(parts)
    if record.alias:
        return f"token for {record.alias}"  # A location, or an image of the host OS.
    if record.login is not Login.NONE:
        return "login: it is accepted"
    return "token without a login, for no repository"


def _blob(record: Record) -> str:
    digest, name = (record.digest or "")[:DIGEST_LENGTH], _named(record)
    if record.status == HTTPStatus.NOT_MODIFIED:
        return f"blob {digest} of {name}: the client has it already"
    if record.status in _REDIRECTS:
        return f"blob {digest} of {name}, redirected to the storage"
    if record.method == "HEAD":
        return f"blob {digest} of {name}: it is there"
    if record.mover:
        return f"blob {digest} of {name}, {MOVERS[record.mover]}"
    part = "part of a " if record.status == HTTPStatus.PARTIAL_CONTENT else ""
    way = "from the storage" if record.storage else "streamed"
    if record.cache:
        way = BLOBS[record.cache].brief
    return f"{part}blob {describe_size(record.bytes or 0)} of {name}, {way}"


def _manifest(record: Record) -> str:
    ignored = "; its tag is ignored" if record.warning else ""
    if record.status == HTTPStatus.NOT_MODIFIED:
        end = ": the client has it already"
    elif record.status in _REDIRECTS:
        end = ", redirected"
    elif record.method == "HEAD":
        end = ": it is there"
    else:
        end = f", {describe_size(record.bytes or 0)}"
    return f"manifest of {_named(record)}{end}{ignored}"


def _named(record: Record) -> str:
    """Return the alias and, where it is known, its release."""
    target = record.aliases[0] if record.aliases else None
    if target and target.tag:
        return f"{record.alias}:{target.tag} → {target.release}"
    if record.release in (None, selector_of(record.alias)):
        return str(record.alias)
    return f"{record.alias} ({record.release})"


def _size(record: Record) -> str:
    return f", {describe_size(record.bytes)}" if record.bytes else ""


def _other(record: Record) -> str:
    return f"{record.subject}: {record.status}"


_COMMENTS: Mapping[str, Callable[[Record], str]] = {
    Kind.PING: lambda _: f"{HEALTH_CHECK}: alive",
    Kind.READY: lambda _: f"{HEALTH_CHECK}: ready",
    Kind.BASE: lambda _: f"{BASE}: the registry is there",
    Kind.TOKEN: _token,
    Kind.MANIFEST: _manifest,
    Kind.BLOB: _blob,
    Kind.CATALOG: lambda record: f"list of repositories{_size(record)}",
}
