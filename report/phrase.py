"""The words in which the page says things."""

import datetime as dt
import re
from collections.abc import Mapping

from mitm.story.kind import CONTENT, Kind, Login, Outcome, OwnKind
from mitm.story.quantity import describe_size
from mitm.story.record import COMMIT_LENGTH
from mitm.story.words import BASE, BLOBS, HEALTH_CHECK, LOGINS, MOVERS, no_answer
from report.pull import Pull
from report.request import Request, Source
from report.timeline import Part, split_time

_KINDS: Mapping[str, str] = {
    Kind.PING: HEALTH_CHECK,
    Kind.READY: HEALTH_CHECK,
    Kind.BASE: BASE,
    Kind.TOKEN: "token",
    Kind.MANIFEST: "manifest",
    Kind.BLOB: "blob",
    Kind.TAGS: "list of tags",
    Kind.REFERRERS: "referrers of",
    Kind.CATALOG: "list of repositories",
    Kind.PUSH: "push",
    Kind.HANDSHAKE: "TLS handshake",
    Kind.OTHER: "unknown path",
    OwnKind.RESOLUTION: "look-up at the API",
    OwnKind.GRANT: "token from its issuer",
    OwnKind.PROBE: "ping of the registry",
    OwnKind.SEARCH: "search for the blob at the registry",
    OwnKind.CHOICE: "look whether the registry has it",
}
_AT_STORAGE = "search for the blob at the storage"
_ENDINGS: Mapping[Outcome | None, str] = {
    Outcome.SERVED: "",
    Outcome.CHALLENGED: "get a token",
    Outcome.ABORTED: "client gone",
    None: "not over",
}
RESULTS: Mapping[Outcome | None, str] = {
    Outcome.SERVED: "served",
    None: "unfinished",
    Outcome.ABORTED: "client gone",
    Outcome.REFUSED: "refused",
    Outcome.LIMITED: "rate limited",
    Outcome.UNAUTHORIZED: "unauthorized",
    Outcome.FAILED: "failed",
}
SIGNS: Mapping[Outcome | None, str] = {
    Outcome.SERVED: "✓",
    None: "…",
    Outcome.ABORTED: "✕",
    Outcome.REFUSED: "✕",
    Outcome.LIMITED: "!",
    Outcome.UNAUTHORIZED: "!",
    Outcome.FAILED: "✕",
}
SOURCES: Mapping[Source | None, str] = {
    Source.REGISTRY: "from the registry",
    Source.STORAGE: "from the storage",
    Source.REDIRECT: "redirected to the storage, past the proxy",
}
"""Where a blob came from, where neither cache nor nginx has a part in it."""
PARTS: Mapping[Part, str] = {
    Part.API: "waiting for the API or token server",
    Part.REGISTRY: "waiting for the registry",
    Part.TRANSFER: "transfer",
    Part.PROXY: "the proxy itself",
}
_USUAL_TAG = "latest"
"""The one that clients ask for who were told none."""
_WORD = re.compile(r"[a-z]+[ ,:;]")
"""How a sentence begins that begins with no name."""
_ENDS = (".", "!", "?")
_MINUTE = 60
_HOUR = 60 * _MINUTE


def what(request: Request) -> str:
    """Say what was asked for."""
    record = request.record
    method = "" if record.method in ("GET", "") else f"({record.method})"
    is_elsewhere = record.kind is OwnKind.SEARCH and record.storage
    kind = _AT_STORAGE if is_elsewhere else _KINDS[record.kind]
    words = (kind, record.reference, method)
    return " ".join(filter(None, words))


def ending(request: Request) -> str:
    """Say how a request ended, beside its status; nothing where that says it all."""
    record = request.record
    if record.is_own:
        return "no answer" if record.status is None else ""
    outcome = Outcome.REFUSED if record.refused else record.outcome
    if outcome is Outcome.SERVED and record.kind is Kind.BLOB and record.cache:
        return BLOBS[record.cache].brief
    if record.mover:
        return MOVERS[record.mover]
    is_content = record.kind is Kind.BLOB and record.method != "HEAD"
    if is_content and outcome in (Outcome.SERVED, None):
        return SOURCES.get(request.source, _ENDINGS[outcome])
    return _ENDINGS[outcome] if outcome in _ENDINGS else str(outcome)


def sign(request: Request) -> str:
    """Return a sign for how a request ended, which is no colour."""
    if request.is_bad:
        return "✕"
    if request.record.outcome is Outcome.CHALLENGED:
        return "→"
    return "✓" if request.record.is_own or request.record.outcome else "…"


def size(request: Request) -> str:
    """Say how large the answer was, where it is what was asked for."""
    is_said = request.kind in CONTENT or request.record.is_own
    if not (request.sent and is_said):
        return ""
    if request.is_transfer and request.total and request.total > request.sent:
        return f"{describe_size(request.sent)} of {describe_size(request.total)}"
    return describe_size(request.sent)


def progress(pull: Pull, rate: float | None) -> str:
    """Say how far a pull is that goes on."""
    if not (sent := pull.bytes):
        return "waiting for the first bytes"
    words = describe_size(sent)
    if total := pull.total:
        words += f" of {describe_size(total)}"
    return f"{words}, {describe_size(int(rate))}/s" if rate else words


def spent(request: Request) -> str:
    """Say on whom the time of a request was spent."""
    parts = split_time(request).items()
    return ", ".join(f"{PARTS[part]} {seconds(value)}" for part, value in parts)


def login(login: Login) -> str:
    """Say how the client logged in."""
    return LOGINS[login].whole


def name(pull: Pull) -> str:
    """Say what was asked for; where it was refused, with the tag, if one was chosen."""
    tag = pull.tag if pull.result is Outcome.REFUSED else ""
    return f"{pull.alias}:{tag}" if tag not in ("", _USUAL_TAG) else pull.alias


def release(pull: Pull) -> str:
    """Say for which release the alias stood, with its commit, if anybody got it."""
    target = pull.given
    if target.release and target.commit:
        return f"{target.release} ({target.commit[:COMMIT_LENGTH]})"
    return target.release or ""


def reason(pull: Pull) -> str:
    """Say why a pull is no success, or how much was served."""
    if decisive := pull.decisive:
        return why(decisive) + _given_up(pull, decisive)
    if pull.result is Outcome.SERVED:
        return _served(pull)
    outcome = pull.requests[-1].record.outcome
    if outcome is Outcome.CHALLENGED:
        return "the client was told to get a token, and did not come back with one"
    if outcome is None:
        return "the last request was not over when the file was saved"
    return "the client got a token, and asked for nothing"


def headline(pull: Pull) -> str:
    """Say the same as a sentence; how much was served is none."""
    words = reason(pull)
    return words if pull.result is Outcome.SERVED else sentence(words)


def sentence(words: str) -> str:
    """Return words with a capital letter and a full stop.

    What begins with a name, as ``org/app`` or a host, is left as it is written.
    """
    begin = words[:1].upper() if _WORD.match(words) else words[:1]
    return f"{begin}{words[1:]}{'' if words.endswith(_ENDS) else '.'}"


def _given_up(pull: Pull, failed: Request) -> str:
    """Say how often it failed so before the client gave up, if it did."""
    if not pull.is_given_up(failed):
        return ""
    times = len(pull.alike(failed))
    often = f"it happened {times} times, " if times > 1 else ""
    return f"; {often}then the client gave up"


def _served(pull: Pull) -> str:
    """Say how much was served, how fast, and what of it went another way."""
    words = describe_size(pull.bytes)
    if pull.kept:
        words += f", {describe_size(pull.kept)} of it from the cache,"
    words += f" in {seconds(pull.end - pull.begin)}"
    if broken := pull.broken:
        is_cut = all(each.record.failure and each.status for each in broken)
        words += (
            f", after {count(len(broken), 'answer')} that broke off"
            if is_cut
            else f", after {count(len(broken), 'request')} that failed"
        )
    for host, blobs in pull.redirected.items():
        verb = "is" if blobs == 1 else "are"
        words += (
            f"; {count(blobs, 'layer')} {verb} fetched by the client from"
            f" {host or 'the storage'}, past the proxy"
        )
    return words


def why(request: Request) -> str:
    """Say why a request is no success, as the log does."""
    record = request.record
    if record.finding:
        return record.finding
    if record.message:
        return record.message
    if record.failure:
        return no_answer(record)
    # A badge says already how it ended.
    comment = request.comment.removeprefix("refused: ").removeprefix("failed: ")
    return comment or f"answered with status {request.status}"


def tick(value: float) -> str:
    """Return what stands at a mark of the time axis."""
    if 0 < value < 1:
        return f"{value * 1000:g} ms"
    return f"{value:g} s" if value < _MINUTE else f"{value / _MINUTE:.3g} min"


def seconds(value: float) -> str:
    """Say how long something took."""
    if 0 < value < 0.001:  # noqa: PLR2004 - or it would be 0 ms
        return f"{value * 1000:.1f} ms"
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < _MINUTE:
        return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"  # noqa: PLR2004
    if value < _HOUR:
        return f"{value // _MINUTE:.0f} min {value % _MINUTE:.0f} s"
    return f"{value // _HOUR:.0f} h {value % _HOUR // _MINUTE:.0f} min"


def timestamp(moment: float) -> str:
    """Return a moment as machines read it."""
    return f"{dt.datetime.fromtimestamp(moment, dt.UTC):%Y-%m-%dT%H:%M:%SZ}"


def day(moment: float) -> str:
    """Return the date of a moment, in UTC."""
    return f"{dt.datetime.fromtimestamp(moment, dt.UTC):%Y-%m-%d}"


def clock(moment: float) -> str:
    """Return the time of a moment, in UTC."""
    return f"{dt.datetime.fromtimestamp(moment, dt.UTC):%H:%M:%S}"


def count(number: int, noun: str, plural: str = "") -> str:
    """Return a number of things: 1 pull, 2 pulls."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
