"""Connections that fail or break, and what stands between: DNS, TCP, TLS, framing."""

import re
from collections.abc import Callable, Sequence
from http import HTTPStatus

from cause.answer import is_page, program_of, status_line, xml_fields
from cause.certificate import Flaw, describe_flaw, flaw_of
from cause.connection import (
    describe_silence,
    fault_of,
    no_handshake,
    speaks_plain,
    speaks_tls,
    unknown_host,
)
from cause.evidence import Evidence
from cause.finding import Cause, Finding, Role, shown
from resolver.grammar.url import is_loopback
from resolver.symptom import Symptom

STATUS_MAX = 599
"""Of all that HTTP has (RFC 9110 section 15)."""
GIVEN_UP_SECONDS = 5
"""A client that waited so long for an answer, and goes, gave up."""
_PACKING = frozenset({"br", "compress", "deflate", "gzip", "x-gzip", "zstd"})
"""Codings that change the bytes; S3's aws-chunked is none in an answer."""
_PLAIN_TO_TLS = (
    b"HTTP request to an HTTPS server",  # Go's, and so docker-registry's
    b"plain HTTP request was sent to HTTPS port",  # nginx
    b"speaking plain HTTP to an SSL-enabled server port",  # Apache
)
"""What servers say of it, with status 400."""
_RECEIVED = re.compile(r"received (\d+) bytes, expected (\d+)")
_DOCUMENTS = {
    "base": "the answer to GET /v2/",
    "manifest": "a manifest",
    "tags": "a list of tags",
    "referrers": "a list of referrers",
}
"""What is never a page for browsers, by the kind of request."""
_GATEWAY = frozenset(
    {
        *(HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE),
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
_REFUSING = frozenset(range(400, 500)) - {
    *(HTTPStatus.PRECONDITION_FAILED, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE),
    HTTPStatus.TOO_MANY_REQUESTS,
}
"""How a storage says no to a request that is sound."""
_BETWEEN = "let what stands in between, as a reverse proxy or a filter of the network,"
_VARIABLES = {
    Role.REGISTRY: "REGISTRY_URL",
    Role.API: "API_URL",
    Role.TOKEN: "the realm of the registry's challenge and REALM_HOSTS",
    Role.STORAGE: "the URL that the registry redirects to",
}
"""Where a server's URL comes from."""
_TIMEOUTS = {Role.API: "balena_api_timeout", Role.TOKEN: "balena_api_timeout"}
_FAULTS = {
    Role.API: Cause.API,
    Role.TOKEN: Cause.REALM,
    Role.STORAGE: Cause.STORAGE,
}
"""What is at fault where a server answers, but fails; else it is the registry."""
_ANSWERING = frozenset(
    {HTTPStatus.OK, HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS}
)
"""What a registry says to a ping."""
_SENT = frozenset({HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT})
"""With these there are bytes of a blob."""
_ISSUERS = frozenset({Role.API, Role.TOKEN})
"""Who answers with JSON and nothing else."""
_ELSEWHERE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN})
"""What another server than the one that is meant answers with a page."""
_WORD = re.compile(r"[A-Za-z0-9.]{1,64}")
"""A code of a storage's; anything else that it says may repeat what it was sent."""


def lost_connection(seen: Evidence) -> Finding | None:
    """Say why there is no connection to a server, or why it ended."""
    if seen.role is None or seen.symptom is None or seen.is_client_gone:
        return None
    return _CONNECTIONS[seen.symptom](seen)


def unencrypted_request(seen: Evidence) -> Finding | None:
    """Say that a server of TLS was asked without, where it says so itself."""
    is_told = any(words in seen.body for words in _PLAIN_TO_TLS)
    if not (seen.role and seen.status == HTTPStatus.BAD_REQUEST and is_told):
        return None
    return _wants_tls(seen)


def missing_challenge(seen: Evidence) -> Finding | None:
    """Say that nobody learns where to get a token."""
    is_asked = seen.status == HTTPStatus.UNAUTHORIZED and seen.role is Role.REGISTRY
    if not is_asked or "www-authenticate" in seen.headers:
        return None
    return Finding(
        Cause.BETWEEN,
        f"{_who(seen)} answers 401 without the header WWW-Authenticate, so that no"
        " client learns where to get a token",
        f"{_BETWEEN} pass that header on; a registry itself always sends it",
    )


def unknown_length(seen: Evidence) -> Finding | None:
    """Say that an answer could break off unnoticed, and so is not passed on."""
    if seen.role is None or seen.status is None or not seen.is_endless:
        return None
    if "transfer-encoding" in seen.headers:
        return None  # A coding that says nothing of the end.
    return Finding(
        Cause.BETWEEN,
        f"an answer of {_who(seen)} has neither Content-Length nor chunks, so that"
        " nobody could tell whether it broke off",
        f"{_BETWEEN} pass Content-Length on, or speak HTTP/1.1 (in nginx:"
        " proxy_http_version 1.1)",
    )


def page(seen: Evidence) -> Finding | None:
    """Say that a page for browsers came where something else was due."""
    if seen.role is None or seen.status is None or seen.role is Role.STORAGE:
        return None
    if not is_page(seen.headers, seen.body):
        return None
    line, who = status_line(seen.status), _who(seen)
    program = program_of(seen.headers, seen.body)
    maker = f" from {program}" if program else ""
    fault = _FAULTS.get(seen.role, Cause.REGISTRY)
    if seen.status in _GATEWAY:
        return Finding(
            fault,
            f"{who} answers {line} with an HTML page{maker}: what stands in front of"
            f" the {seen.role} has no answer from it",
            f"see whether the {seen.role} runs, and what the log of that reverse proxy"
            " or load balancer says",
        )
    if seen.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Finding(
            fault,
            f"{who} answers {line} with an HTML page{maker}",
            "look at its log, and at that of what stands in front of it",
        )
    due = "JSON" if seen.role in _ISSUERS else _DOCUMENTS.get(seen.kind)
    is_plain = seen.role is not Role.API and _is_plain_refusal(seen.status)
    if due is None or is_plain:
        return None
    variable = _VARIABLES[seen.role]
    return Finding(
        fault,
        f"{who} answers {line} with an HTML page{maker} instead of {due}",
        "a web server or a login page of the network answers in its place: check"
        f" {variable}, and see what this machine gets there with curl",
    )


def no_registry(seen: Evidence) -> Finding | None:
    """Say that what answers is no registry."""
    is_pinged = seen.kind == "base" or (seen.kind == "token" and seen.code)
    if seen.role is not Role.REGISTRY or seen.status is None or not is_pinged:
        return None
    is_failing = seen.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    if seen.status in _ANSWERING or is_failing:
        return None
    return Finding(
        Cause.REGISTRY,
        f"{_who(seen)} answers {status_line(seen.status)} to GET /v2/, where a registry"
        " answers 200 or 401",
        "see what REGISTRY_URL names: a web server or another program may be there",
    )


def rate_limit(seen: Evidence) -> Finding | None:
    """Say who limits the rate."""
    if seen.status != HTTPStatus.TOO_MANY_REQUESTS or seen.role is None:
        return None
    later = seen.headers.get("retry-after", "")
    wait = f"; it says to wait {later} seconds" if later.isdecimal() else ""
    whose = {
        Role.API: "pull less at once with that key; the API counts each key by itself",
        Role.STORAGE: "pull less at once, or keep blobs here with CACHE",
    }.get(seen.role, "pull less at once, or log in: many registries allow more then")
    return Finding(
        Cause.LIMIT, f"{_who(seen)} limits the rate of requests{wait}", whose
    )


def refusing_storage(seen: Evidence) -> Finding | None:
    """Say why a storage does not give what the registry sent for."""
    if seen.role is not Role.STORAGE or seen.status not in _REFUSING:
        return None
    fields, who = xml_fields(seen.body), _who(seen)
    code, message = fields.get("Code", ""), fields.get("Message", "").lower()
    shown_code = f" ({code})" if _WORD.fullmatch(code) else ""
    if "expired" in message or code == "ExpiredToken":
        return Finding(
            Cause.STORAGE,
            f"{who} says that the URL which the registry signed has expired"
            f"{shown_code}",
            "compare the clocks of registry and storage, and let the registry sign its"
            " URLs for longer",
        )
    if "only one auth mechanism" in message:
        return Finding(
            Cause.BETWEEN,
            f"{who} got a login beside the signature in the URL{shown_code}",
            "let nothing between this proxy and the storage add the header"
            " Authorization; the proxy itself sends none there",
        )
    if code == "SignatureDoesNotMatch":
        return Finding(
            Cause.STORAGE,
            f"{who} does not accept the signature of the URL that the registry made"
            f"{shown_code}",
            "compare the keys of the registry with those of the storage; what stands"
            " in between has to keep host, path and query of the URL as they are",
        )
    advice = "see whether the registry's keys for the storage may read there"
    if seen.status == HTTPStatus.NOT_FOUND:
        advice = (
            "push the image anew: the registry knows this blob, but the storage does"
            " not have it"
        )
    line = status_line(seen.status)
    return Finding(
        Cause.STORAGE,
        f"{who} answers {line}{shown_code} to a URL that the registry sent for",
        advice,
    )


def failing(seen: Evidence) -> Finding | None:
    """Say that a server fails, or is none of those that are meant."""
    if seen.role is None or seen.status is None:
        return None
    line, who = status_line(seen.status), _who(seen)
    if seen.status > STATUS_MAX:
        return None
    if seen.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Finding(
            _FAULTS.get(seen.role, Cause.REGISTRY),
            f"{who} answers {line}",
            "look at its log",
        )
    if seen.role is not Role.API or seen.status == HTTPStatus.UNAUTHORIZED:
        return None
    what = (
        "with something else than the balena API does"
        if seen.status == HTTPStatus.OK
        else "where the balena API answers with JSON"
    )
    return Finding(
        Cause.API,
        f"{who} answers {line}, {what}",
        "see whether API_URL names the balena API, without a path",
    )


def packed(seen: Evidence) -> Finding | None:
    """Say that something packs what the client did not ask to be packed."""
    coding = seen.headers.get("content-encoding", "identity").strip().lower()
    if seen.role is None or coding in ("", "identity"):
        return None
    if seen.is_unreadable:
        return Finding(
            Cause.BETWEEN,
            f"an answer of {_who(seen)} says that it is packed by {shown(coding)}, and"
            " is not",
            f"{_BETWEEN} leave Content-Encoding as it is",
        )
    taken = seen.request.get("accept-encoding", "").lower()
    is_blob = seen.kind == "blob" and seen.status in _SENT
    if not is_blob or coding not in _PACKING or coding in taken or "*" in taken:
        return None
    return Finding(
        Cause.BETWEEN,
        f"{_who(seen)} sends the blob packed by {shown(coding)}, which the client did"
        " not ask for, so that it is not what its digest says",
        f"{_BETWEEN} not compress blobs (in nginx: gzip off)",
    )


def changed_manifest(seen: Evidence) -> Finding | None:
    """Say that a manifest is not what its digest says."""
    if not (seen.role and seen.digest and seen.body_digest):
        return None
    if seen.digest == seen.body_digest:
        return None
    return Finding(
        Cause.BETWEEN,
        f"the manifest that came from {_who(seen)} is {seen.body_digest[:19]}, and not"
        f" {seen.digest[:19]}",
        f"{_BETWEEN} change nothing of it; if there is none, the registry's storage is"
        " damaged: push the image anew",
    )


def slow_client(seen: Evidence) -> Finding | None:
    """Say that a client was let go because it takes too little."""
    if not seen.least_rate:
        return None
    return Finding(
        Cause.CLIENT,
        f"the client took less than {seen.least_rate}, so this proxy closed its"
        " connection",
        "look at the client's network and at its disk; it may pull again",
    )


def impatient_client(seen: Evidence) -> Finding | None:
    """Say that a client went while a server was waited for."""
    if not (seen.is_client_gone and seen.role and not seen.has_begun):
        return None
    if seen.seconds is None or seen.seconds < GIVEN_UP_SECONDS:
        return None
    return Finding(
        Cause.CLIENT,
        f"the client gave up after {seen.seconds:.0f} seconds, in which {_who(seen)}"
        " did not answer",
        f"find out why the {seen.role} is slow; if it has to be, let the client, or"
        " what stands between it and this proxy, wait for longer",
    )


def unreachable_storage(seen: Evidence) -> Finding | None:
    """Say that a client probably cannot follow the redirects of its registry."""
    if not (seen.led_to and seen.is_back):
        return None
    host = shown(seen.led_to)
    return Finding(
        Cause.STORAGE,
        f"the client was sent to {host} for this blob, and asks for it again: it"
        " probably cannot reach that host",
        f"see whether the client's machine reaches {host}; if it cannot, start the"
        " proxy with BLOBS=follow",
    )


def _who(seen: Evidence) -> str:
    through = f", through {shown(seen.proxy)}," if seen.proxy else ""
    return f"the {seen.role} {shown(seen.host)}{through}"


def _name(seen: Evidence) -> str:
    """Return the host without its port."""
    host = seen.host
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_plain_refusal(status: int) -> bool:
    """Return whether a page says no more than the status does."""
    return status >= HTTPStatus.BAD_REQUEST and status not in _ELSEWHERE


def _setting(seen: Evidence) -> str:
    """Say where the server's URL comes from."""
    return _VARIABLES[seen.role or Role.REGISTRY]


def _no_host(seen: Evidence) -> Finding:
    return Finding(
        _unless_storage(seen, Cause.DNS),
        unknown_host(_name(seen), f"the {seen.role} {shown(seen.host)}"),
        f"check how it is spelled, {_setting(seen)}, and whether its name is known in"
        " another network only",
    )


def _no_name_server(seen: Evidence) -> Finding:
    return Finding(
        _unless_storage(seen, Cause.DNS),
        f"the name of the {seen.role} {shown(seen.host)} cannot be looked up: the name"
        " server fails, or does not answer",
        "see whether this machine's name server answers: getent hosts"
        f" {shown(_name(seen))}",
    )


def _no_connection(seen: Evidence) -> Finding:
    symptom, proxy = seen.symptom, seen.proxy
    assert symptom  # noqa: S101 - who asks looked
    silence = describe_silence(symptom, _waited(seen))
    if proxy:
        return Finding(
            Cause.NETWORK,
            f"{shown(proxy)}, by which the {seen.role} {shown(seen.host)} is reached,"
            f" {silence}",
            _PROXY_ADVICE.format(name=shown(_name(seen))),
        )
    way = (
        ""
        if is_loopback(seen.host)
        else ", whether a firewall or VPN between this machine and it drops connections"
    )
    advice = {
        Symptom.REFUSED: "start it, let the firewall there pass, or set host and port"
        f" right ({_setting(seen)})",
        Symptom.NO_CONNECTION: f"see whether it runs{way}, and whether {_setting(seen)}"
        " is right",
    }[symptom]
    return Finding(fault_of(seen.role), f"{_who(seen)} {silence}", advice)


def _itself(seen: Evidence) -> Finding:
    return Finding(
        fault_of(seen.role),
        f"the address of {_who(seen)} leads to this proxy itself",
        f"name the address of the {seen.role} ({_setting(seen)})",
    )


def _no_route(seen: Evidence) -> Finding:
    return Finding(
        fault_of(seen.role),
        f"this machine has no route to the {seen.role} {shown(seen.host)}",
        "see to the machine's network: ip route get, a VPN that is down, IPv6 without"
        " a way out",
    )


def _no_answer(seen: Evidence) -> Finding:
    assert seen.symptom  # noqa: S101 - who asks looked
    silence = describe_silence(seen.symptom, _waited(seen))
    if seen.symptom is Symptom.SILENT:
        option = _TIMEOUTS.get(seen.role or Role.REGISTRY, "balena_registry_timeout")
        advice = f"look at its log and its load; {option} is how long it may take"
    elif seen.symptom is Symptom.NO_HTTP:
        advice = f"see what listens there, and name the right port ({_setting(seen)})"
    else:
        between = "" if is_loopback(seen.host) else " or a firewall"
        advice = (
            "look at its log, and at that of what stands in front of it, as a load"
            f" balancer{between}"
        )
    return Finding(fault_of(seen.role), f"{_who(seen)} {silence}", advice)


def _broken(seen: Evidence) -> Finding:
    counts = _RECEIVED.search(seen.failure)
    what = f"after {counts[1]} of {counts[2]} bytes" if counts else "before its end"
    return Finding(
        fault_of(seen.role),
        f"the answer of {_who(seen)} broke off {what}",
        "look at its log, and at that of what stands in front of it: a limit of time"
        " there, or a Content-Length that something changed",
    )


def _stalled(seen: Evidence) -> Finding:
    patience = "a while" if seen.patience is None else f"{seen.patience:g} seconds"
    return Finding(
        fault_of(seen.role),
        f"{_who(seen)} sent no more for {patience}, in the middle of its answer",
        "look at its log and its load, and at the network to it",
    )


def _certificate(seen: Evidence) -> Finding:
    whose = f"the {seen.role} {shown(seen.host)}"
    sentence = describe_flaw(whose, _name(seen), seen.words, seen.certificate, seen.now)
    advice = {
        Flaw.EXPIRED: "renew it there, unless the clock is wrong",
        Flaw.EARLY: "synchronise this machine's clock (NTP); if it is right, wait",
        Flaw.OTHER_NAME: "use a name that it has, or get a certificate for"
        f" {shown(_name(seen))}",
        Flaw.UNTRUSTED: "name the file of the authority that signed it by the option"
        " ssl_verify_upstream_trusted_ca; if it is none of yours, something in between"
        " opens TLS",
    }[flaw_of(seen.words)]
    return Finding(Cause.TLS, sentence, advice)


def _speaks_plain(seen: Evidence) -> Finding:
    return Finding(
        Cause.TLS,
        f"the {seen.role} {speaks_plain(seen.host)}",
        f"name its port for TLS, or write http:// if that is meant ({_setting(seen)})",
    )


def _wants_tls(seen: Evidence) -> Finding:
    return Finding(
        Cause.TLS,
        f"the {seen.role} {speaks_tls(seen.host)}",
        f"write https:// ({_setting(seen)})",
    )


def _no_tls(seen: Evidence) -> Finding:
    return Finding(
        Cause.TLS,
        no_handshake(f"the {seen.role} {shown(seen.host)}", seen.words),
        "see which versions of TLS it speaks: openssl s_client -connect"
        f" {shown(seen.host)}",
    )


def _damaged(seen: Evidence) -> Finding:
    return Finding(
        Cause.STORAGE,
        f"what came from {_who(seen)} for this blob is not what its digest says",
        "if something in between changes it, stop that; otherwise the registry's"
        " storage is damaged: push the image anew",
    )


def _by_proxy(seen: Evidence) -> Finding:
    return Finding(
        Cause.NETWORK,
        f"the {seen.role} {shown(seen.host)} is not reached: {shown(seen.words)}",
        _PROXY_ADVICE.format(name=shown(_name(seen))),
    )


def _unless_storage(seen: Evidence, cause: Cause) -> Cause:
    return Cause.STORAGE if seen.role is Role.STORAGE else cause


def _waited(seen: Evidence) -> float | None:
    """Return how long was waited, in whole seconds."""
    seconds = seen.patience or seen.seconds
    return round(seconds) if seconds and seconds >= 1 else None


_PROXY_ADVICE = (
    "set HTTPS_PROXY or HTTP_PROXY right, with its login if it wants one, or add {name}"
    " to NO_PROXY"
)
_CONNECTIONS: dict[Symptom, Callable[[Evidence], Finding]] = {
    Symptom.NO_HOST: _no_host,
    Symptom.NO_NAME_SERVER: _no_name_server,
    Symptom.REFUSED: _no_connection,
    Symptom.NO_CONNECTION: _no_connection,
    Symptom.ITSELF: _itself,
    Symptom.NO_ROUTE: _no_route,
    Symptom.PLAIN: _speaks_plain,
    Symptom.WANTS_TLS: _wants_tls,
    Symptom.CERTIFICATE: _certificate,
    Symptom.NO_TLS: _no_tls,
    Symptom.SILENT: _no_answer,
    Symptom.CLOSED: _no_answer,
    Symptom.RESET: _no_answer,
    Symptom.NO_HTTP: _no_answer,
    Symptom.STALLED: _stalled,
    Symptom.CUT: _broken,
    Symptom.DAMAGED: _damaged,
    Symptom.PROXY: _by_proxy,
}

RULES: Sequence[Callable[[Evidence], Finding | None]] = (
    slow_client,
    impatient_client,
    lost_connection,
    unencrypted_request,
    unknown_length,
    missing_challenge,
    page,
    no_registry,
    rate_limit,
    refusing_storage,
    packed,
    changed_manifest,
    unreachable_storage,
    failing,
)
"""In the order in which they are asked."""
