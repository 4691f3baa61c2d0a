"""What is shown in place of a credential, a token or a signed URL (rule R15).

An API key is not shown at all. Of a registry token the claims are, because they tell
why a pull fails; without its signature it opens nothing.
"""

import html
import json
import logging
import re
from base64 import b64decode
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import parse_qsl, quote, quote_plus, urlencode

from cause.finding import shown
from resolver.grammar.payload import parse_payload
from resolver.grammar.secret import REDACTED
from resolver.token import claims
from resolver.token.request import Parameters

_SHOWN_FIELDS = frozenset({"client_id", "grant_type", "scope", "service"})
_NAMED_FIELDS = frozenset({"password", "refresh_token", "username"})
"""Of the form of a token request (rule R5); any other may be anything."""
_HARMLESS_FIELDS = frozenset(
    {
        "access_type",
        "account",
        "client_id",
        "grant_type",
        "offline_token",
        "scope",
        "service",
    }
)
"""Parameters of a token request that prove nothing."""
_CLAIMS = re.compile(r"[\w-]+\.[\w-]+", re.ASCII)
"""Header and payload of a JWT, and nothing before them that could be a login."""
_SHOWN_VALUE = re.compile(r"[\w.:/,* -]*", re.ASCII)
"""With another separator than `&` the whole form would stand in one value."""
_MOMENT = re.compile(r"[0-9TZ:.+-]{1,40}")
_QUERY = re.compile(r"[?;#].*", re.DOTALL)
_USER = re.compile(r"(?<=//)[^/?#]*@")
_PERCENT = re.compile(r"%[0-9A-F]{2}")
_CUT = b"\0"
"""Stands for what was cut out until all is; in place of each other word of a login,
`REDACTED` would be cut in turn."""
_CUTS = re.compile(rb"\0+")
LOGIN_LENGTH_MIN = 8
"""Characters of a login that is taken out of an answer; shorter ones are no keys, and
may be any word."""
_BYTES = re.compile(r"""\bb(?:'.*'|".*"|['"].*)""", re.DOTALL)
"""Bytes as Python shows them, also where they are cut off before the end."""

_HANDSHAKE = "Client TLS handshake failed"
"""How mitmproxy's line begins of what `cause.handshake` tells in other words. It has
all of a ClientHello in it, or the name that the client asks for, whatever that is."""

_HANDSHAKE_LENGTH_MAX = 1000


def redacted_login(authorization: str) -> str:
    """Return the ``Authorization`` header without what it proves."""
    scheme, _, login = authorization.strip().partition(" ")
    match scheme.lower():
        case "bearer" if login:
            return f"{scheme} {redacted_token(login.strip())}"
        case "basic" if login:
            return f"{scheme} {REDACTED}"
    return REDACTED


def redacted_token(text: str) -> str:
    """Return a registry token without its signature, and of anything else nothing.

    A token of a user's session is a JWT as well, and has secrets among its claims; a
    registry's has an access list. One with another token among its claims, as GitLab's
    that names the user, is not shown either.
    """
    jwt, separator, suffix = text.partition(claims.SEPARATOR)
    signed = jwt.rpartition(".")[0]
    token = claims.read_token(text)
    is_shown = token.has_access and not token.has_inner_token
    if not is_shown or not _CLAIMS.fullmatch(signed):
        return REDACTED
    if not token.is_readable:
        suffix = REDACTED
    return f"{signed}.{REDACTED}{separator}{suffix}"


def redacted_url(url: str) -> str:
    """Return the URL without its query, where a signature stands, and any login."""
    target, separator, _ = _USER.sub(f"{REDACTED}@", url, count=1).partition("?")
    return f"{target}{separator}{REDACTED}" if separator else target


def without_signature(url: str) -> str:
    """Return a storage's URL, or a path there, without a login and past the path."""
    return _QUERY.sub(f"?{REDACTED}", _USER.sub(f"{REDACTED}@", url, count=1))


def redacted_answer(body: bytes) -> bytes:
    """Return the answer of a token endpoint with its tokens redacted."""
    try:
        answer = parse_payload(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        return REDACTED.encode()
    shown: dict[str, object] = {
        name: redacted_token(str(value))
        for name, value in answer.items()
        if name in ("token", "access_token")
    }
    for name in ("expires_in", "issued_at"):
        value = answer.get(name)
        if isinstance(value, int) or _MOMENT.fullmatch(str(value)):
            shown[name] = value
    return json.dumps(shown).encode()


def redacted_form(body: bytes) -> bytes:
    """Return the form of a token request without user and password."""
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True)
    except ValueError:
        return REDACTED.encode()
    shown = [
        (name, value if _is_shown(name, value) else REDACTED)
        for name, value in fields
        if name in _SHOWN_FIELDS | _NAMED_FIELDS
    ]
    return urlencode(shown, safe="[]:/,").encode() or REDACTED.encode()


def redacted_query(url: str) -> str:
    """Return the URL of a token endpoint without what its query says of a user."""
    target, separator, query = url.partition("?")
    return f"{target}?{redacted_form(query.encode()).decode()}" if separator else target


def without_login(data: bytes, authorization: str | None) -> bytes:
    """Return what an API says without the login, which it may repeat."""
    login = (authorization or "").partition(" ")[2].encode("latin-1")
    secrets = [login]
    with suppress(ValueError):
        secrets.append(b64decode(login, validate=True).partition(b":")[2])
    for secret in secrets:
        if len(secret) >= LOGIN_LENGTH_MIN:
            data = data.replace(secret, REDACTED.encode())
    return data


def without_request(
    said: bytes, authorization: str | None, parameters: Parameters
) -> bytes:
    """Return what a realm says without what it was sent, which it may repeat.

    That is the login, and each parameter that may prove something, however short, as
    it is and as forms, JSON and pages have it.
    """
    secrets = {value for name, value in parameters if name not in _HARMLESS_FIELDS}
    secrets.update(_in_login(authorization or ""))
    forms = {form for secret in secrets if secret for form in _forms(secret)}
    for form in sorted(forms, key=len, reverse=True):
        said = said.replace(form.encode(errors="surrogateescape"), _CUT)
    return _CUTS.sub(REDACTED.encode(), said)


def _in_login(authorization: str) -> Iterator[str]:
    """Yield what an ``Authorization`` header proves, and how a Basic one reads."""
    scheme, _, login = authorization.strip().partition(" ")
    yield login.strip() or scheme
    with suppress(ValueError):
        decoded = b64decode(login.strip(), validate=True)
        yield decoded.decode(errors="surrogateescape")
        yield decoded.partition(b":")[2].decode(errors="surrogateescape")


def _forms(secret: str) -> Iterator[str]:
    """Yield how a text stands in what repeats it."""
    yield secret
    for encode in (quote, quote_plus):
        for safe in ("", "/", "!'()*"):
            encoded = encode(secret, safe=safe, errors="surrogateescape")
            yield encoded
            yield _PERCENT.sub(lambda found: found[0].lower(), encoded)
    for ensures_ascii in (True, False):
        escaped = json.dumps(secret, ensure_ascii=ensures_ascii)[1:-1]
        yield escaped
        yield escaped.replace("/", r"\/")
    yield html.escape(secret)


def _is_shown(name: str, value: str) -> bool:
    return name in _SHOWN_FIELDS and _SHOWN_VALUE.fullmatch(value) is not None


def quieten_logs() -> None:
    """Keep what was received and sent out of the logs of the libraries.

    urllib3 logs whole request targets, and they have locations in them; mitmproxy
    logs the bytes of a broken message, and they may be a login. Its lines about each
    connection, and about each handshake of a client that fails, are for those who look
    for details; the log has one for each request.
    """
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    logging.getLogger("mitmproxy.proxy.server").addFilter(_without_bytes)


def without_bytes(text: str) -> str:
    """Return what mitmproxy says without the bytes that it quotes."""
    return _BYTES.sub(REDACTED, text)


def without_hello(text: str) -> str:
    """Return what mitmproxy says of a handshake, which may quote all of a ClientHello.

    The name that a client asks for has less than 256 characters, so none is cut here.
    """
    return shown(text[:_HANDSHAKE_LENGTH_MAX])


def _without_bytes(record: logging.LogRecord) -> bool:
    """Cut what was received out of a log line, and let through what somebody reads."""
    said = record.getMessage()
    is_handshake = said.startswith(_HANDSHAKE)
    if is_handshake or record.levelno == logging.INFO:
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
    if not logging.getLogger(record.name).isEnabledFor(record.levelno):
        return False
    record.msg = without_hello(said) if is_handshake else without_bytes(said)
    record.args = ()
    return True
