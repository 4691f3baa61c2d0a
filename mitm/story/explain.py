"""The explanation of a flow: what happened, and what the client will do next.

It is made from what the flow carries, so that a flow of a saved file is explained as
well. What clients do is that of docker, containerd, podman and skopeo.
"""

from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus

from mitmproxy import http

from mitm.story.kind import Kind, Login, Mover, Outcome, OwnKind
from mitm.story.quantity import describe_size
from mitm.story.record import SEPARATOR, Record, host_of
from mitm.story.words import BLOBS, CACHES, LOGINS, sender
from resolver.errors import ErrorCode

_GOOD = {
    Login.KEY: ", and the login is good",
    Login.TOKEN: ", and the token is good",
}
_WANTS_LOGIN = (
    "It sent no login, and the registry takes one itself (Basic). Next it asks again"
    " with a user name and a password, if it has them."
)
FOREIGN = "This is no request to the registry proxy, or one that it did not get to see."


def explain(flow: http.HTTPFlow) -> list[str]:
    """Return sentences: what was asked, what came of it, and what comes next."""
    record = Record.read(flow)
    if record is None:
        return [FOREIGN]
    sentences = [*_EXPLANATIONS.get(record.kind, _other)(record, flow)]
    if record.finding and not any(record.finding in each for each in sentences):
        sentences += _found(record)
    if record.outcome is None:
        sentences.append(
            f"It ended here: {flow.error.msg}."
            if flow.error
            else "It is not answered yet."
        )
    return sentences


def _base(record: Record, _flow: http.HTTPFlow) -> Iterator[str]:
    yield "The client asked whether a registry is here (GET /v2/)."
    match record.outcome:
        case Outcome.CHALLENGED:
            yield (
                _WANTS_LOGIN
                if record.wants_login
                else "It sent no token, so the registry told it where to get one; the"
                " proxy put its own token endpoint in the place of the registry's."
            )
            if not record.wants_login:
                yield (
                    "Next it asks /auth/v1/token for a token, with its login if it has"
                    " one."
                )
            yield from _found(record)
        case Outcome.SERVED:
            good = _GOOD.get(record.login or Login.NONE, "")
            yield f"It is{good}. Next it asks for what it wants."
        case _:
            yield from _end(record)


def _token(record: Record, _flow: http.HTTPFlow) -> Iterator[str]:
    purpose = (
        f"to pull {record.alias}" if record.alias else "for no repository, as to log in"
    )
    login = (
        LOGINS[record.login].whole if record.login else "with a login that is not known"
    )
    yield f"The client asked for a token {purpose}, {login}."
    is_answered = record.outcome in (Outcome.SERVED, Outcome.REFUSED)
    if not is_answered or record.status != HTTPStatus.OK:
        yield from _end(record)
        return
    if found := record.found:
        for each in found:
            release, location = each.release, each.location
            yield f"{each.alias} is release {release}, because it is {each.reason}."
            yield f"Its commit is {each.commit}, and its image is stored at {location}."
            yield f"{CACHES[each.cache].whole if each.cache else 'It was looked up'}."
        yield f"The API issued the token; it took {_seconds(record.api_seconds)}."
        yield "Next the client asks for the manifest, with that token."
    if record.tagged:
        tagged = (f"{each.tagged} of {each.alias}" for each in record.tagged)
        yield (
            "The token is for more releases, which tags select:"
            f" {SEPARATOR.join(tagged)}."
        )
    if refused := record.refused:
        names = SEPARATOR.join(each.alias for each in refused)
        yield f"{names} was refused: {record.message or ''}."
        yield (
            "The client gets a token all the same, with the refusal in it: it asks for"
            " the manifest next, and is told the reason there, where it shows it to"
            " its user."
        )
        yield from _advice(record)
    elif not record.alias:
        yield "One was issued, so the login is good if there was one."
    elif not (record.found or record.tagged):
        yield f"It was issued; that took {_seconds(record.api_seconds)}."
        yield "Next the client asks for the manifest, with that token."


def _content(record: Record, flow: http.HTTPFlow) -> Iterator[str]:
    what = f"{record.kind} {record.digest or ''}".strip()
    verb = "asked whether there is" if record.method == "HEAD" else "asked for"
    yield f"The client {verb} the {what} of {record.alias or ''}."
    for target in record.aliases:
        if not target.location:
            continue
        release = f"; it is release {target.release}" if target.release else ""
        yield (
            f"Its token says that the image is stored at {target.location}, where the"
            f" proxy asked the registry for it{release}."
        )
        if record.kind is Kind.MANIFEST and target.tag and target.reason:
            yield (
                f"The tag {target.tag} selected that one, because it is"
                f" {target.reason}."
            )
    if record.warning:
        yield f"It was told beside the answer: {record.warning}."
    match record.outcome:
        case Outcome.CHALLENGED:
            yield (
                _WANTS_LOGIN
                if record.wants_login
                else "It sent no token that is good for that, and was told to get one"
                " at the proxy. Next it asks /auth/v1/token for one, and then again"
                " here."
            )
            yield from _found(record)
        case Outcome.SERVED:
            yield from _answer(record, flow)
        case _:
            yield from _end(record)


def _answer(record: Record, flow: http.HTTPFlow) -> Iterator[str]:
    """Say what was sent, and by whom."""
    if record.status == HTTPStatus.NOT_MODIFIED:
        yield "The client has it already, and was told that it did not change."
        return
    if host := redirect_host(flow):
        yield (
            f"The registry redirected it to {host}: the bytes go from there to"
            " the client, without its token and past this proxy."
        )
    elif record.mover is Mover.NGINX:
        yield (
            "It may have it, and so nginx in front was told to send it, from what it"
            " keeps or fetches itself; the bytes do not pass through this proxy."
        )
    elif record.mover is Mover.NGINX_FETCH:
        place = record.storage or "the registry"
        yield (
            "nginx in front does not keep it yet, or not this part, and was told to"
            f" fetch it from {place}, on behalf of that client."
        )
    elif record.method != "HEAD" and record.bytes is not None:
        if record.cache:
            yield f"{BLOBS[record.cache].whole}."
        elif record.storage:
            yield (
                f"The registry redirected it to {record.storage}, and the proxy fetched"
                " it there for the client, without its token."
            )
        yield (
            f"The {sender(record)} began to answer after"
            f" {_seconds(record.registry_seconds)} and sent"
            f" {describe_size(record.bytes)}; all of it took"
            f" {_seconds(record.seconds)}."
        )
    if record.kind is Kind.MANIFEST and record.method == "HEAD":
        yield "Next it asks for the manifest itself, by its digest, unless it has it."
    elif record.kind is Kind.MANIFEST:
        yield (
            "Next the client asks for the blobs that it names and that it does not"
            " have yet; of an index first for the manifest of its platform."
        )


def redirect_host(flow: http.HTTPFlow) -> str:
    """Return the host that the answer redirects to, or nothing."""
    return host_of(flow.response.headers.get("location", "") if flow.response else "")


def _own(record: Record, _flow: http.HTTPFlow) -> Iterator[str]:
    about = f" for {record.alias}" if record.alias else ""
    match record.kind:
        case OwnKind.PROBE:
            yield "The proxy asked the registry where its tokens are issued."
        case OwnKind.RESOLUTION:
            yield f"The proxy asked the API{about}, as the client."
        case OwnKind.GRANT:
            yield f"The proxy asked for a token{about}, as the client."
        case OwnKind.SEARCH:
            yield f"The proxy asked where a blob{about} is, without taking it."
        case _:
            yield (
                "The proxy asked the registry, with the client's token, whether"
                f" this release of {record.alias or ''} has what the client wants."
            )
    seconds = _seconds(record.seconds)
    if record.failure:
        yield f"There was no answer after {seconds}: {record.failure}."
    else:
        yield f"It answered with status {record.status} after {seconds}."


def _other(record: Record, _flow: http.HTTPFlow) -> Iterator[str]:
    yield f"The client asked for {record.path or ''}."
    if record.outcome is not Outcome.SERVED:
        yield from _end(record)


def _handshake(record: Record, _flow: http.HTTPFlow) -> Iterator[str]:
    yield "The client began a TLS handshake, and asked for nothing."
    yield from _found(record)


def _end(record: Record) -> Iterator[str]:
    """Say why there is nothing, and what helps."""
    message = f": {record.message}" if record.message else ""
    match record.outcome:
        case Outcome.ABORTED:
            yield (
                "The client went away before it had everything:"
                f" {record.failure or ''}."
            )
            if record.finding is None:
                yield (
                    "If it was not stopped, it or something before the proxy timed out."
                )
            yield from _found(record)
        case Outcome.FAILED if record.failure:
            if record.finding is None:
                yield (
                    f"The {sender(record)} did not answer, or not to the end:"
                    f" {record.failure}."
                )
            yield from _found(record)
            yield (
                "Clients try again; docker and containerd go on where they were."
                if record.kind is Kind.BLOB
                else "The client was told so with 502, and tries again a few times."
            )
        case Outcome.FAILED | Outcome.LIMITED:
            yield f"It could not be answered, with status {record.status}{message}."
            yield from _found(record)
            yield "Clients try a few times, some seconds apart, and then give up."
        case Outcome.UNAUTHORIZED | Outcome.REFUSED:
            yield f"It was refused with status {record.status}{message}."
            yield from _advice(record)


def _found(record: Record) -> Iterator[str]:
    """Say what is wrong and what to do about it, where that was found."""
    if record.finding and record.finding != record.message:
        yield f"What is wrong: {record.finding}."
    if record.advice:
        yield f"What to do: {record.advice}."


def _advice(record: Record) -> Iterator[str]:
    """Say what the client does now, and what its user can do."""
    is_token = record.kind is Kind.TOKEN
    if record.finding:
        yield from _found(record)
        return
    match record.code:
        case ErrorCode.UNAUTHORIZED if not is_token:
            yield (
                "The registry did not take the login: it is mistyped, was revoked or"
                " has expired."
                if record.login is Login.KEY
                else "The registry did not take the token: its time is over, or clocks"
                " or keys of the registry and of who issues its tokens differ. Clients"
                " get another one and try once more."
            )
        case ErrorCode.DENIED if not is_token:
            yield (
                "The client shows this and gives up. The token request before this one"
                " says whether it had logged in."
            )
        case _ if record.method == "HEAD":
            yield (
                "An answer to HEAD has no body: containerd, BuildKit and Kubernetes"
                " show its status line, which has these words; docker's classic store"
                " asks again with GET."
            )
        case _ if not is_token:
            yield "The client shows this and gives up."


def _seconds(value: float | None) -> str:
    return "an unknown time" if value is None else f"{value:.3f} s"


_EXPLANATIONS: Mapping[str, Callable[[Record, http.HTTPFlow], Iterator[str]]] = {
    Kind.BASE: _base,
    Kind.TOKEN: _token,
    Kind.MANIFEST: _content,
    Kind.BLOB: _content,
    Kind.TAGS: _content,
    Kind.REFERRERS: _content,
    Kind.HANDSHAKE: _handshake,
    **dict.fromkeys(OwnKind, _own),
}
