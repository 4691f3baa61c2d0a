"""Connections that fail, in words: what the server does, and whose cause that is."""

from collections.abc import Mapping

from cause.finding import Cause, Role, shown
from resolver.symptom import Symptom

_VERBS: Mapping[Symptom, str] = {
    Symptom.REFUSED: "refuses the connection",
    Symptom.NO_CONNECTION: "takes no connection{within}",
    Symptom.SILENT: "does not answer{within}",
    Symptom.CLOSED: "closed the connection without an answer",
    Symptom.RESET: "reset the connection",
    Symptom.NO_HTTP: "answers with something other than HTTP",
}


def describe_silence(symptom: Symptom | None, seconds: float | None) -> str | None:
    """Say what a server does that gives no answer; None where that has no words."""
    within = "" if seconds is None else f" within {seconds:g} seconds"
    verb = _VERBS.get(symptom) if symptom else None
    return verb and verb.format(within=within)


def unknown_host(name: str, whose: str) -> str:
    """Say that DNS does not know a name."""
    return f"there is no host of the name {shown(name)}, where {whose} should be"


def speaks_tls(address: str) -> str:
    """Say that the wrong one of two was spoken."""
    return f"{shown(address)} speaks TLS, but was addressed in plain HTTP"


def speaks_plain(address: str) -> str:
    """Say that the wrong one of two was spoken."""
    return f"{shown(address)} speaks plain HTTP, but was addressed with TLS"


def no_handshake(whose: str, words: str) -> str:
    """Say that TLS fails in a way that has no other words."""
    return f"the TLS handshake with {whose} fails: {shown(words.rstrip('.'))}"


def fault_of(role: Role | None) -> Cause:
    """Return what is at fault where a server cannot be reached."""
    match role:
        case Role.TOKEN:
            return Cause.REALM
        case Role.STORAGE:
            return Cause.STORAGE
        case _:
            return Cause.NETWORK
