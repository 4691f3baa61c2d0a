"""Answers that are not as hoped: which cause, which sentence, which next step."""

import re
import time
from dataclasses import dataclass, field
from http import HTTPStatus

from cause import answer as words_of
from cause.access import (
    MAKE_KEY,
    NO_KEY,
    no_right,
    other_issuer,
    other_service,
    other_time,
)
from cause.content import ADVICE
from cause.finding import Cause, Role, shown
from pull.connection import Answer
from pull.fault import Fault
from pull.login import Login, is_balena
from pull.place import Place
from pull.reference import Reference
from resolver.errors import ErrorCode
from resolver.grammar.challenge import Challenge
from resolver.grammar.credential import KEY_VARIABLE
from resolver.grammar.payload import read_error
from resolver.token.claims import Token, pullable_names, read_payload, read_token

_ID = re.compile(r" \[([A-Za-z0-9_.:-]{1,8})\]$")
"""Of a request, as `mitm.reply.with_id` puts it to the end of the proxy's messages."""


@dataclass(slots=True)
class Situation:
    """What is known so far of a pull."""

    reference: Reference
    challenge: Challenge | None = None
    login: Login | None = None
    token: str = field(default="", repr=False)
    clocks: dict[Role, float] = field(default_factory=dict)
    """Seconds that a server's clock is ahead of this machine's."""

    @property
    def realm(self) -> str:
        """Where the registry sends for tokens; nothing where it does not."""
        return self.challenge.realm if self.challenge else ""


def said(answer: Answer, body: bytes) -> str:
    """Return status and words of an answer."""
    return words_of.said(answer.status, answer.headers, body)


def is_page(answer: Answer, body: bytes) -> bool:
    """Return whether it is a page for browsers."""
    return words_of.is_page(answer.headers, body)


def refused(situation: Situation, answer: Answer, body: bytes) -> Fault:
    """Return what is wrong by an answer that nobody hoped for."""
    proxy_id = _proxy_id(body)
    who = _proxy(answer.place) if proxy_id else str(answer.place)
    words = f"{who} answers {said(answer, body)}"
    look = (
        f"look for {proxy_id} in the log of {who}, or on its page of pulls"
        if proxy_id
        else "look at its log"
    )
    later = answer.headers.get("Retry-After")
    wait = f"in {shown(later)} seconds" if later else "in a minute"
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        advice = f"try again {wait}; with a login there may be more room"
        return Fault(Cause.LIMIT, words, advice)
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        is_registry = answer.place.role is Role.REGISTRY
        cause = Cause.REGISTRY if is_registry else answer.place.fault
        return Fault(cause, words, f"try again {wait}, or {look}")
    if answer.place.role is Role.TOKEN:
        return _no_token(situation, answer, words)
    if answer.place.role is Role.STORAGE:
        return Fault(
            Cause.STORAGE,
            words,
            "pull again for another URL; if it stays so, compare the clocks of"
            " registry and storage, and the storage's rights",
        )
    return _no_content(situation, answer, body, words) or Fault(
        Cause.REGISTRY, words, look
    )


def _proxy(place: Place) -> str:
    """Name this proxy, which is asked as a registry or a token server."""
    return f"the proxy {shown(place.netloc)}{place.through}"


def _proxy_id(body: bytes) -> str:
    """Return by which id the log of this proxy has the request, if it answered."""
    error = read_error(body)
    match = _ID.search(error[1]) if error else None
    return match[1] if match else ""


def _no_token(situation: Situation, answer: Answer, words: str) -> Fault:
    if answer.status not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return Fault(
            Cause.REALM,
            f"{words}, so no tokens are issued where the registry's challenge says",
            "set the realm of the registry right; for the proxy that is API_URL or"
            " PUBLIC_URL",
        )
    return _no_login(situation, words)


def _no_login(situation: Situation, words: str) -> Fault:
    """Return what is wrong where a login is wanted, or another one."""
    login = situation.login
    if login is None:
        return Fault(Cause.LOGIN, f"{words}, and no login was sent", _how(situation))
    sentence = f"{words}; the login {shown(login.user)} from {login.source} is wrong"
    if is_balena(situation.realm) and not login.is_like_key:
        return Fault(
            Cause.LOGIN,
            f"{sentence}, and {NO_KEY}",
            f"{MAKE_KEY}; then: {_how(situation)}",
        )
    return Fault(
        Cause.LOGIN, f"{sentence}, or has expired", f"log in anew: {_how(situation)}"
    )


def _how(situation: Situation) -> str:
    host = shown(situation.reference.host)
    if is_balena(situation.realm):
        return (
            f"set {KEY_VARIABLE} to a balena API key, or docker login {host} with the"
            " key as password"
        )
    return f"docker login {host}, or --username with {KEY_VARIABLE} as the password"


def _no_content(
    situation: Situation, answer: Answer, body: bytes, words: str
) -> Fault | None:
    """Return what is wrong by the code of the error or its status, if that says it."""
    error = read_error(body)
    code = error[0] if error else ""
    if answer.status == HTTPStatus.UNAUTHORIZED:
        return (token_rejected if situation.token else _no_login)(situation, words)
    if answer.status == HTTPStatus.FORBIDDEN:
        return _denied(situation, words)
    if code == ErrorCode.MANIFEST_UNKNOWN and _token(situation).aliases.refusals:
        code = ErrorCode.NAME_UNKNOWN
    found = ADVICE.get(code) or ADVICE.get(answer.status)
    return Fault(found[0], words, found[1]) if found else None


def _denied(situation: Situation, words: str) -> Fault:
    if situation.login is None:
        return Fault(Cause.LOGIN, f"{words}; no login was sent", _how(situation))
    name = situation.reference.name
    return Fault(
        Cause.RIGHTS,
        f"{words}; the login was taken, and may not pull {name}",
        "check the name, and let the owner of the login be given the right",
    )


def no_registry(answer: Answer, body: bytes) -> Fault:
    """Return what is wrong where something else than a registry answers."""
    return Fault(
        Cause.REGISTRY,
        f"{answer.place.address} is no registry: {answer.place} answers"
        f" {said(answer, body)}",
        "check host and port: a registry answers /v2/ with 200 or 401; a web server, a"
        " login page of the network or another program may be there",
    )


def passes_by(situation: Situation, answer: Answer) -> Fault:
    """Return that who was asked for a blob will not keep it: it is elsewhere."""
    answer.close()
    return Fault(
        Cause.STORAGE,
        f"{shown(situation.reference.host)} sends its clients to {answer.place} for"
        " blobs, and so keeps none",
        "name a proxy that runs with CACHE=<folder>",
    )


def token_rejected(situation: Situation, words: str) -> Fault:
    """Return why a registry may not take the token that was issued for it."""
    name, payload = situation.reference.name, read_payload(_token(situation).jwt)
    challenge = situation.challenge
    if late := other_time(payload, situation.clocks, time.time(), words=words):
        return Fault.of(late)
    found = other_service(payload, challenge.service if challenge else None)
    if found:
        return Fault.of(found.after(words))
    token = _token(situation)
    names = pullable_names(token.jwt)
    if location := token.claimed.get(name):
        return Fault(
            Cause.NAME,
            f"{words}: this registry knows the image as {location} alone",
            "pull it by its name from the proxy, or from here by that one",
        )
    if names is None or name in names or name in token.aliases.candidates:
        return Fault.of(other_issuer(payload).after(words))
    if situation.login is None:
        return Fault(
            Cause.LOGIN,
            f"{words}: without a login, the token has no right to pull {name}",
            _how(situation),
        )
    return Fault.of(no_right(name, names).after(words))


def _token(situation: Situation) -> Token:
    return read_token(situation.token)
