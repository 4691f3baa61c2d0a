"""Decides what a flow says of itself: a comment, a mark, and facts in its metadata.

mitmproxy's interfaces show the comment beside each flow, so that a pull reads like a
story. No key and no token is in it (rule R15).
"""

from collections.abc import Callable, Iterable
from http import HTTPStatus

from mitmproxy import http

from mitm.story.fact import SEPARATOR, Fact, note
from mitm.story.record import DIGEST_LENGTH, Kind, KnownRelease, Login, Outcome, Record
from mitm.story.size import describe_size
from resolver import errors
from resolver.grammar.reference import printable
from resolver.release.resolution import Resolution

MARK = ":x:"
"""What mitmproxy's interfaces show beside refused and failed flows."""
MESSAGE_LENGTH_MAX = 300
"""Characters of a registry's own message."""
_MARKED = frozenset(
    {Outcome.REFUSED, Outcome.UNAUTHORIZED, Outcome.LIMITED, Outcome.FAILED}
)
_REDIRECTS = range(300, 400)


def begin(flow: http.HTTPFlow, record: Record) -> None:
    """Say what is asked for, as long as there is no more to say."""
    flow.comment = f"{_subject(record)}: waiting for an answer"
    note(
        flow,
        {
            Fact.REQUEST_ID: record.request_id,
            Fact.KIND: record.kind,
            Fact.PATH: record.path,
            Fact.LOGIN: record.login,
            Fact.ALIAS: record.alias,
            Fact.DIGEST: record.digest,
        },
    )


def tell_streaming(flow: http.HTTPFlow, record: Record) -> None:
    """Say that the answer is on its way."""
    flow.comment = f"{record.subject}: being streamed"


def tell_unread(flow: http.HTTPFlow, failure: str) -> None:
    """Say why a request was not even read."""
    flow.comment = f"failed: {failure}"
    flow.marked = MARK


def tell(flow: http.HTTPFlow, record: Record) -> None:
    """Say how the request ended."""
    told = _error(flow, record)
    note(flow, _facts(record))
    if told:
        note(flow, {Fact.CODE: told[0], Fact.MESSAGE: told[1]})
    flow.comment = _comment(flow, record, told and told[1])
    is_marked = record.outcome in _MARKED and not record.is_optional
    flow.marked = MARK if is_marked else ""


def _facts(record: Record) -> dict[Fact, str | int | float | None]:
    release, location = record.release, record.location
    found = record.resolutions
    if found:
        releases = [KnownRelease.of(one.release) for one in found]
    else:
        releases = [release] if release else []
    refused = [printable(name) for name in record.refusals]
    aliases = [str(one.alias) for one in found] + refused
    selectors = [one.alias.selector or "" for one in found]
    states = {str(one.alias): record.states.get(str(one.alias)) for one in found}
    return {
        Fact.OUTCOME: record.outcome,
        Fact.ALIAS: _joined(aliases) or record.alias,
        Fact.SELECTOR: _joined(selectors) or record.tag or _selector(record.alias),
        Fact.RELEASE: _joined(one.version for one in releases),
        Fact.REVISION: _joined(one.revision for one in releases),
        Fact.COMMIT: _joined(one.commit for one in releases),
        Fact.LOCATION: _joined(one.location for one in found) or location,
        Fact.STORAGE: record.storage,
        Fact.CACHE: _joined(str(state) for state in states.values()),
        Fact.REASON: _joined(one.reason for one in found)
        or record.reason
        or record.because,
        Fact.REFUSED: _joined(refused),
        Fact.WARNING: record.warning,
        Fact.TAGGED: _joined(f"{n} of {alias}" for alias, n in record.tagged.items()),
        Fact.FAILURE: record.failure,
        Fact.BYTES: record.size,
        Fact.SECONDS: round(record.seconds, 4),
        Fact.API_SECONDS: _rounded(record.api_seconds),
        Fact.REGISTRY_SECONDS: _rounded(record.registry_seconds),
    }


def _joined(values: Iterable[str]) -> str | None:
    return SEPARATOR.join(values) or None


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)


def _selector(alias: str | None) -> str | None:
    """Return the third component of an alias, if it has one."""
    parts = (alias or "").split("/")
    return parts[2] if len(parts) > 2 and parts[0] != "v2" else None  # noqa: PLR2004


def _error(flow: http.HTTPFlow, record: Record) -> tuple[str, str] | None:
    """Return code and message of the error that the client was told, if any."""
    if record.error:
        return record.error.code, record.error.message
    if record.refusals:
        messages = [refusal.message for refusal in record.refusals.values()]
        codes = {str(refusal.code) for refusal in record.refusals.values()}
        return SEPARATOR.join(sorted(codes)), "; ".join(messages)
    if flow.response and flow.response.status_code >= HTTPStatus.BAD_REQUEST:
        said = errors.read_error(flow.response.get_content(strict=False) or b"")
        # A registry's own words do not say of what.
        return said and (
            printable(said[0]),
            f"{record.subject}: {printable(said[1][:MESSAGE_LENGTH_MAX])}",
        )
    return None


def _comment(flow: http.HTTPFlow, record: Record, message: str | None) -> str:
    if record.failure:
        return _broken(record, record.failure)
    status = flow.response.status_code if flow.response else 0
    if record.outcome is Outcome.CHALLENGED:
        return f"{_subject(record)}: told the client to get a token here"
    if record.outcome in _MARKED and not record.refusals:
        word = "failed" if record.outcome is Outcome.FAILED else "refused"
        return f"{word}: {message or f'{_subject(record)}: {status}'}"
    return _WORDS.get(record.kind, _served)(record, status)


def _broken(record: Record, failure: str) -> str:
    """Say why there is no answer, or none to its end."""
    size = f" after {describe_size(record.size)}" if record.size else ""
    if record.outcome is Outcome.ABORTED:
        return f"{_subject(record)}: the client went away{size}"
    return f"failed: {_subject(record)}: {failure}{size}"


def _subject(record: Record) -> str:
    """Return what was asked for, in words."""
    match record.kind:
        case Kind.BASE:
            return "ping"
        case Kind.TOKEN:
            return f"token for {record.alias or 'no repository'}"
        case Kind.READY:
            return "health check"
    return record.subject


def _token(record: Record, _status: int) -> str:
    """Say which releases the token is for, and what was refused."""
    parts = [_found(one) for one in record.resolutions]
    parts += [
        f"{count} releases of {alias} to select by tag"
        for alias, count in record.tagged.items()
    ]
    parts += [f"refused: {one.message}" for one in record.refusals.values()]
    if parts:
        return "; ".join(parts)
    if record.alias:
        return f"token for {record.alias}"  # A location, or an image of the host OS.
    if record.login is not Login.NONE:
        return "login: the API accepts the key"
    return "token without a login, for no repository"


def _found(one: Resolution) -> str:
    commit, location = one.release.commit[:7], one.location[:7]
    version = one.release.raw_version
    return f"token for {one.alias} → {version} (commit {commit}) → {location}…"


def _blob(record: Record, status: int) -> str:
    digest = (record.digest or "")[:DIGEST_LENGTH]
    if status == HTTPStatus.NOT_MODIFIED:
        return f"blob {digest} of {_named(record)}: the client has it already"
    if status in _REDIRECTS:
        return f"blob {digest} of {_named(record)}, redirected to the storage"
    if record.method == "HEAD":
        return f"blob {digest} of {_named(record)}: it is there"
    part = "part of a " if status == HTTPStatus.PARTIAL_CONTENT else ""
    size = describe_size(record.size or 0)
    way = "from the storage" if record.storage else "streamed"
    return f"{part}blob {size} of {_named(record)}, {way}"


def _manifest(record: Record, status: int) -> str:
    subject = f"manifest of {_named(record)}"
    ignored = "; its tag is ignored" if record.warning else ""
    if status == HTTPStatus.NOT_MODIFIED:
        return f"{subject}: the client has it already{ignored}"
    if status in _REDIRECTS:
        return f"{subject}, redirected{ignored}"
    if record.method == "HEAD":
        return f"{subject}: it is there{ignored}"
    return f"{subject}, {describe_size(record.size or 0)}{ignored}"


def _named(record: Record) -> str:
    """Return the alias and, where it is known, its release."""
    version = record.release.version if record.release else None
    if record.tag:
        return f"{record.alias}:{record.tag} → {version}"
    if version in (None, _selector(record.alias)):
        return str(record.alias)
    return f"{record.alias} ({version})"


def _served(record: Record, status: int) -> str:
    return f"{record.subject}: {status}"


_WORDS: dict[Kind, Callable[[Record, int], str]] = {
    Kind.PING: lambda _record, _status: "health check: alive",
    Kind.READY: lambda _record, _status: "health check: ready",
    Kind.BASE: lambda _record, _status: "ping: the registry is there",
    Kind.TOKEN: _token,
    Kind.MANIFEST: _manifest,
    Kind.BLOB: _blob,
}
