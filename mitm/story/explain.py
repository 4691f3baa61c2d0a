"""Decides how a flow is explained: what happened, and what the client will do next.

From what the flow carries alone, so that a flow of a saved file is explained as well.
What clients do is that of docker, containerd, podman and skopeo.
"""

from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import NamedTuple

from mitmproxy import http

from mitm.story.fact import SEPARATOR, Fact, OwnKind, Value, read, text
from mitm.story.record import Kind, Login, Outcome
from mitm.story.size import describe_size
from resolver.errors import ErrorCode
from resolver.upstream.observer import CacheState

FOREIGN = "This is no request to the registry proxy, or one that it did not get to see."


class _Known(NamedTuple):
    """A flow, as far as it is explained."""

    facts: Mapping[Fact, Value]
    status: int | None
    method: str
    storage: str
    """The host that the answer redirects to."""

    def text(self, fact: Fact) -> str:
        return text(self.facts, fact)

    def seconds(self, fact: Fact) -> str:
        value = self.facts.get(fact)
        return f"{value:.3f} s" if isinstance(value, float | int) else "an unknown time"

    @property
    def alias(self) -> str:
        return self.text(Fact.ALIAS)


def explain(flow: http.HTTPFlow) -> list[str]:
    """Return sentences: what was asked, what came of it, and what comes next."""
    facts = read(flow)
    if Fact.KIND not in facts:
        return [FOREIGN]
    response = flow.response
    location = response.headers.get("location", "") if response else ""
    known = _Known(
        facts,
        response.status_code if response else None,
        flow.request.method,
        location.partition("://")[2].partition("/")[0],
    )
    tell = _KINDS.get(known.text(Fact.KIND), _other)
    sentences = [*tell(known)]
    if Fact.OUTCOME not in facts:
        sentences.append(
            f"It ended here: {flow.error.msg}."
            if flow.error
            else "It is not answered yet."
        )
    return sentences


def _base(known: _Known) -> Iterator[str]:
    yield "The client asked whether a registry is here (GET /v2/)."
    match known.text(Fact.OUTCOME):
        case Outcome.CHALLENGED:
            yield (
                "It sent no token, so the registry told it where to get one; the proxy"
                " put its own token endpoint in the place of the API's."
            )
            yield (
                "Next it asks /auth/v1/token for a token, with its login if it has one."
            )
        case Outcome.SERVED:
            yield "It is, and the token is good. Next it asks for what it wants."
        case _:
            yield from _ended(known)


def _token(known: _Known) -> Iterator[str]:
    what = (
        f"to pull {known.alias}" if known.alias else "for no repository, as to log in"
    )
    login = _LOGINS.get(known.text(Fact.LOGIN), "with a login that is not known")
    yield f"The client asked for a token {what}, {login}."
    is_answered = known.text(Fact.OUTCOME) in (Outcome.SERVED, Outcome.REFUSED)
    if not is_answered or known.status != HTTPStatus.OK:
        yield from _ended(known)
        return
    refused = known.text(Fact.REFUSED).split(SEPARATOR)
    aliases = [name for name in known.alias.split(SEPARATOR) if name not in refused]
    columns = (
        known.text(fact).split(SEPARATOR)
        for fact in (Fact.RELEASE, Fact.COMMIT, Fact.LOCATION, Fact.REASON, Fact.CACHE)
    )
    if known.text(Fact.RELEASE):
        for alias, release, commit, location, reason, cache in zip(
            aliases, *columns, strict=False
        ):
            yield f"{alias} is release {release}, because it is {reason}."
            yield f"Its commit is {commit}, and its image is stored at {location}."
            yield f"{_CACHES.get(cache, 'It was looked up')}."
        yield f"The API issued the token; it took {known.seconds(Fact.API_SECONDS)}."
        yield "Next the client asks for the manifest, with that token."
    if tagged := known.text(Fact.TAGGED):
        yield f"The token is for more releases, which tags select: {tagged}."
    if known.text(Fact.REFUSED):
        yield f"{known.text(Fact.REFUSED)} was refused: {known.text(Fact.MESSAGE)}."
        yield (
            "The client gets a token all the same, with the refusal in it: it asks for"
            " the manifest next, and is told the reason there, where it shows it to"
            " its user."
        )
        yield from _advice(known)
    elif not known.alias:
        yield "The API issued one, so the key is good if there was one."


def _content(known: _Known) -> Iterator[str]:
    kind = known.text(Fact.KIND)
    what = f"{kind} {known.text(Fact.DIGEST)}".strip()
    verb = "asked whether there is" if known.method == "HEAD" else "asked for"
    yield f"The client {verb} the {what} of {known.alias}."
    if location := known.text(Fact.LOCATION):
        release = known.text(Fact.RELEASE)
        yield (
            f"Its token says that the image is stored at {location}, where the proxy"
            " asked the registry for it"
            + (f"; it is release {release}." if release else ".")
        )
        if (tag := known.text(Fact.SELECTOR)) and kind == Kind.MANIFEST:
            yield from _selected(known, tag)
    if warning := known.text(Fact.WARNING):
        yield f"It was told beside the answer: {warning}."
    match known.text(Fact.OUTCOME):
        case Outcome.CHALLENGED:
            yield (
                "It sent no token that is good for that, and was told to get one at"
                " the proxy. Next it asks /auth/v1/token for one, and then again here."
            )
        case Outcome.SERVED:
            yield from _served(known)
        case _:
            yield from _ended(known)


def _selected(known: _Known, tag: str) -> Iterator[str]:
    """Say what a tag did, where the alias has no selector of its own."""
    if known.alias.count("/") == 1 and (reason := known.text(Fact.REASON)):
        yield f"The tag {tag} selected that one, because it is {reason}."


def _served(known: _Known) -> Iterator[str]:
    size = known.facts.get(Fact.BYTES)
    if known.status == HTTPStatus.NOT_MODIFIED:
        yield "The client has it already, and was told that it did not change."
        return
    if known.storage:
        yield (
            f"The registry redirected it to {known.storage}: the bytes go from there to"
            " the client, without its token and past this proxy."
        )
    elif known.method != "HEAD" and isinstance(size, int):
        if stored := known.text(Fact.STORAGE):
            yield (
                f"The registry redirected it to {stored}, and the proxy fetched it"
                " there for the client, without its token."
            )
        yield (
            f"The {_sender(known)} began to answer after"
            f" {known.seconds(Fact.REGISTRY_SECONDS)} and sent {describe_size(size)};"
            f" all of it took {known.seconds(Fact.SECONDS)}."
        )
    if known.text(Fact.KIND) == Kind.MANIFEST and known.method == "HEAD":
        yield "Next it asks for the manifest itself, by its digest, unless it has it."
    elif known.text(Fact.KIND) == Kind.MANIFEST:
        yield (
            "Next the client asks for the blobs that it names and that it does not"
            " have yet; of an index first for the manifest of its platform."
        )


def _sender(known: _Known) -> str:
    return "storage" if known.text(Fact.STORAGE) else "registry"


def _own(known: _Known) -> Iterator[str]:
    about = f" for {known.alias}" if known.alias else ""
    yield {
        OwnKind.PROBE: "The proxy asked the registry where its tokens are issued.",
        OwnKind.RESOLUTION: f"The proxy asked the API{about}, as the client.",
        OwnKind.GRANT: f"The proxy asked the API for a token{about}, as the client.",
        OwnKind.SEARCH: f"The proxy asked where a blob{about} is, without taking it.",
        OwnKind.CHOICE: "The proxy asked the registry, with the client's token, whether"
        f" this release of {known.alias} has what the client wants.",
    }[OwnKind(known.text(Fact.KIND))]
    took = known.seconds(Fact.SECONDS)
    if failure := known.text(Fact.FAILURE):
        yield f"There was no answer after {took}: {failure}."
    else:
        yield f"It answered with status {known.status} after {took}."


def _other(known: _Known) -> Iterator[str]:
    yield f"The client asked for {known.text(Fact.PATH)}."
    if known.text(Fact.OUTCOME) != Outcome.SERVED:
        yield from _ended(known)


def _ended(known: _Known) -> Iterator[str]:
    """Say why there is nothing, and what helps."""
    failure, message = known.text(Fact.FAILURE), known.text(Fact.MESSAGE)
    said = f": {message}" if message else ""
    match known.text(Fact.OUTCOME):
        case Outcome.ABORTED:
            yield f"The client went away before it had everything: {failure}."
            yield "If it was not stopped, it or something before the proxy timed out."
        case Outcome.FAILED if failure:
            yield f"The {_sender(known)} did not answer, or not to the end: {failure}."
            is_blob = known.text(Fact.KIND) == Kind.BLOB
            yield (
                "Clients try again; docker and containerd go on where they were."
                if is_blob
                else "The client was told so with 502, and tries again a few times."
            )
        case Outcome.FAILED | Outcome.LIMITED:
            yield f"It could not be answered, with status {known.status}{said}."
            yield "Clients try a few times, some seconds apart, and then give up."
        case Outcome.UNAUTHORIZED | Outcome.REFUSED:
            yield f"It was refused with status {known.status}{said}."
            yield from _advice(known)


def _advice(known: _Known) -> Iterator[str]:
    """Say what the client does now, and what its user can do."""
    code, kind = known.text(Fact.CODE), known.text(Fact.KIND)
    if code == ErrorCode.UNAUTHORIZED and kind != Kind.TOKEN:
        yield (
            "The registry did not take the token: its time is over, or clocks or keys"
            " of API and registry differ. Clients get another one and try once more."
        )
    elif code == ErrorCode.UNAUTHORIZED:
        yield (
            "The client gives up and shows this: the key is mistyped, was revoked or"
            " has expired. Log in again; without any login, public blocks can still be"
            " pulled, so log out for those."
        )
    elif code == ErrorCode.DENIED and kind == Kind.TOKEN:
        yield (
            "There was no login: if the application is private, docker login helps."
            if known.text(Fact.LOGIN) == Login.NONE
            else "There was a login, and the application does not exist for it: the"
            " name is wrong, or the key belongs to somebody who may not see it."
        )
    elif code == ErrorCode.DENIED:
        yield (
            "The client shows this and gives up. The token request before this one"
            " says whether it had logged in."
        )
    elif known.method == "HEAD":
        yield (
            "An answer to HEAD has no body: containerd, BuildKit and Kubernetes show"
            " its status line, which has these words; docker's classic store asks again"
            " with GET."
        )
    elif kind != Kind.TOKEN:
        yield "The client shows this and gives up."


_LOGINS: Mapping[str, str] = {
    Login.NONE: "without a login",
    Login.KEY: "with a user name and an API key",
    Login.TOKEN: "with a key or session token as Bearer",
}
_CACHES = {
    CacheState.HIT: "That was remembered, so the API was not asked for it",
    CacheState.MISS: "The API was asked for it, and it is remembered now",
    CacheState.SHARED: "Another client was just asking the API for it",
    CacheState.STALE: "The API fails, so what was remembered served beyond its time",
}
_KINDS: dict[str, Callable[[_Known], Iterator[str]]] = {
    Kind.BASE: _base,
    Kind.TOKEN: _token,
    Kind.MANIFEST: _content,
    Kind.BLOB: _content,
    Kind.TAGS: _content,
    Kind.REFERRERS: _content,
    **dict.fromkeys(OwnKind, _own),
}
