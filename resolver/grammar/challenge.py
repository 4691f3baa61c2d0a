"""Bearer challenges: how the registry's are read, and ours are written.

::

    challenge  = "Bearer" 1*SP auth-param *( "," auth-param )
    auth-param = token "=" ( token / quoted-string )

The grammar is that of RFC 9110 section 11.6.1; the parameters are those of
https://distribution.github.io/distribution/spec/auth/token/#how-to-authenticate
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

TOKEN_PATH = "/auth/v1/token"  # noqa: S105 - a path
"""Where the API issues tokens, and the proxy too."""
RELAY_PATH = f"{TOKEN_PATH}?names=registry"
"""Where the proxy passes requests for tokens on, to a registry's own realm. Who sees it
knows that logins for that registry are taken there, and no keys of balena's."""

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110's word
_PARAM = re.compile(
    rf"""
    \s* (?P<name> {_TOKEN} ) \s* = \s*
    (?: " (?P<quoted> (?: [^"\\] | \\. )* ) " | (?P<plain> [^\s",]+ ) )
    \s* (?: , | $ )
    """,
    re.VERBOSE,
)
_KNOWN_PARAMS = ("realm", "service", "scope", "error")
"""In the registry's own order."""
_BEARER = re.compile(r"(?:^|,)\s*bearer\s+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Challenge:
    """A Bearer challenge: where to get which token."""

    realm: str
    service: str | None = None
    scope: str | None = None
    error: str | None = None

    def __str__(self) -> str:
        """Return the ``WWW-Authenticate`` value."""
        pairs = ((name, getattr(self, name)) for name in _KNOWN_PARAMS)
        return "Bearer " + ",".join(
            f"{name}={_quote(value)}" for name, value in pairs if value is not None
        )

    @property
    def origin(self) -> str | None:
        """The scheme and host of the realm, or None where it is no absolute URL."""
        try:
            parts = urlsplit(self.realm)
        except ValueError:
            return None
        if parts.scheme not in ("http", "https") or not parts.netloc:
            return None
        return f"{parts.scheme}://{parts.netloc}"


def parse_challenge(header: str) -> Challenge | None:
    """Return the Bearer challenge in the header, or None where there is none.

    A header may list challenges of several schemes; those are left out.
    """
    start = _BEARER.search(header)
    if not start:
        return None
    params: dict[str, str] = {}
    position = start.end()
    while position < len(header):
        match = _PARAM.match(header, position)
        if not match:
            break
        quoted = match["quoted"]
        value = match["plain"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        params.setdefault(match["name"].lower(), value)
        position = match.end()
    if "realm" not in params:
        return None
    return Challenge(**{name: params[name] for name in _KNOWN_PARAMS if name in params})


def _quote(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
