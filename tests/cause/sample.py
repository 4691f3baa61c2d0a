"""What was seen in cases that have names: for tests of the rules, and for the page."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace

from cause.certificate import Certificate
from cause.evidence import Evidence
from cause.finding import Finding, Role
from cause.handshake import handshake_failed, spoke_tls
from resolver.symptom import Symptom

NOW = dt.datetime(2026, 11, 29, 12, tzinfo=dt.UTC)
CERTIFICATE = Certificate(
    ["other.example.com"],
    "CN=Example CA",
    dt.datetime(2026, 8, 1, tzinfo=dt.UTC),
    dt.datetime(2026, 11, 1, tzinfo=dt.UTC),
)
REGISTRY = Evidence(
    Role.REGISTRY,
    "registry.example.com",
    kind="manifest",
    name="org/app/2.3",
    now=NOW.timestamp(),
    seconds=10.0,
)
API = replace(REGISTRY, role=Role.API, host="api.example.com", kind="token")
STORAGE = replace(REGISTRY, role=Role.STORAGE, host="s3.example.com", kind="blob")
PAGE = b"<!DOCTYPE html><html><title>Sign in</title></html>"
NGINX = b"<html><h1>502 Bad Gateway</h1><hr><center>nginx/1.26.3</center></html>"
HTML = {"content-type": "text/html"}


def failing(symptom: Symptom, seen: Evidence = REGISTRY, **more: object) -> Evidence:
    """Return what is seen of a connection that fails so."""
    return replace(seen, symptom=symptom, **more)  # type: ignore[arg-type]


def answering(
    status: int,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    seen: Evidence = REGISTRY,
    **more: object,
) -> Evidence:
    """Return what is seen of an answer."""
    return replace(
        seen,
        status=status,
        headers=headers or {},
        body=body,
        has_begun=True,
        **more,  # type: ignore[arg-type]
    )


def xml(code: str, message: str) -> bytes:
    """Return an error as S3 words it."""
    return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


NETWORK: Mapping[str, Evidence] = {
    "unknown name": failing(Symptom.NO_HOST),
    "silent name server": failing(Symptom.NO_NAME_SERVER),
    "refused connection": failing(Symptom.REFUSED),
    "proxy in front of itself": failing(Symptom.ITSELF),
    "no route": failing(Symptom.NO_ROUTE),
    "no connection in time": failing(Symptom.NO_CONNECTION),
    "no answer in time": failing(Symptom.SILENT, API),
    "connection closed": failing(Symptom.CLOSED),
    "connection reset": failing(Symptom.RESET),
    "no HTTP": failing(Symptom.NO_HTTP),
    "answer cut off": failing(
        Symptom.CUT,
        STORAGE,
        failure="(received 300000 bytes, expected 2097152)",
        has_begun=True,
    ),
    "answer stalls": failing(Symptom.STALLED, patience=10.0, has_begun=True),
    "forward proxy refuses connections": failing(
        Symptom.REFUSED, proxy="the proxy 10.0.0.1:3128"
    ),
    "forward proxy wants a login": failing(
        Symptom.PROXY,
        proxy="the proxy 10.0.0.1:3128",
        words="the proxy 10.0.0.1:3128 asks for a login: write it into HTTPS_PROXY"
        " (407)",
    ),
    "certificate expired": failing(
        Symptom.CERTIFICATE,
        words="certificate has expired",
        certificate=CERTIFICATE,
    ),
    "certificate not yet valid": failing(
        Symptom.CERTIFICATE,
        words="certificate is not yet valid",
        certificate=replace(CERTIFICATE, begin=dt.datetime(2026, 12, 1, tzinfo=dt.UTC)),
    ),
    "certificate for another name": failing(
        Symptom.CERTIFICATE, words="hostname mismatch", certificate=CERTIFICATE
    ),
    "certificate of an unknown authority": failing(
        Symptom.CERTIFICATE,
        words="unable to get local issuer certificate",
        certificate=CERTIFICATE,
    ),
    "TLS to a plain port": failing(Symptom.PLAIN),
    "plain HTTP to a TLS port": answering(
        400, body=b"Client sent an HTTP request to an HTTPS server.\n"
    ),
    "no TLS in common": failing(Symptom.NO_TLS, words="tls alert handshake failure"),
    "page instead of a manifest": answering(200, HTML, PAGE),
    "page instead of the API": answering(200, HTML, PAGE, API),
    "gateway without a registry": answering(502, HTML, NGINX),
    "registry fails": answering(500),
    "API fails": answering(503, seen=API),
    "no registry": answering(404, kind="base"),
    "no API": answering(404, seen=API),
    "no challenge": answering(401),
    "no length": answering(200, is_endless=True),
    "not packed as it says": answering(
        200, {"content-encoding": "gzip"}, is_unreadable=True
    ),
    "blob packed on its way": answering(200, {"content-encoding": "gzip"}, kind="blob"),
    "manifest changed on its way": answering(
        200, digest=f"sha256:{'a' * 64}", body_digest=f"sha256:{'b' * 64}"
    ),
    "rate limit of the registry": answering(429, {"retry-after": "30"}),
    "rate limit of the API": answering(429, seen=API),
    "storage: URL expired": answering(
        403, body=xml("AccessDenied", "Request has expired"), seen=STORAGE
    ),
    "storage: signature": answering(
        403, body=xml("SignatureDoesNotMatch", "The request signature"), seen=STORAGE
    ),
    "storage: access denied": answering(
        403, body=xml("AccessDenied", "Access Denied"), seen=STORAGE
    ),
    "storage: blob is not there": answering(
        404, body=xml("NoSuchKey", "The key does not exist"), seen=STORAGE
    ),
    "storage: login beside the signature": answering(
        400,
        body=xml("InvalidArgument", "Only one auth mechanism allowed; only the"),
        seen=STORAGE,
    ),
    "storage: fails": answering(503, seen=STORAGE),
    "storage: out of the client's reach": answering(
        307, kind="blob", led_to="s3.example.com", is_back=True
    ),
    "damaged blob": failing(Symptom.DAMAGED, STORAGE),
    "client that gives up": replace(REGISTRY, is_client_gone=True, seconds=15.02),
    "client that is too slow": replace(
        STORAGE, is_client_gone=True, least_rate="1000 bytes a second for 2 minutes"
    ),
}
"""One for each thing that `cause.network` can say."""

LOCATION = "v2/567e62d1e73529e7a31757ac1f3fb902"
CLAIMS = {
    "iat": NOW.timestamp() - 3600,
    "nbf": NOW.timestamp() - 3600,
    "exp": NOW.timestamp() + 10_800,
    "iss": "api.example.com",
    "aud": "registry.example.com",
    "sub": "carol",
    "access": [{"name": LOCATION, "type": "repository", "actions": ["pull"]}],
}
CHALLENGE = (
    'Bearer realm="https://api.example.com/auth/v1/token",'
    'service="registry.example.com",error="invalid_token"'
)
ASKED = replace(REGISTRY, location=LOCATION, api="api.example.com", reference="latest")
REFUSED = answering(
    401,
    {"www-authenticate": CHALLENGE},
    seen=ASKED,
    claims=CLAIMS,
    pullable=frozenset({LOCATION}),
    code="UNAUTHORIZED",
    clocks={Role.REGISTRY: 1.0, Role.API: -1.0},
)
"""A token that the registry does not take."""
OWN = replace(
    ASKED,
    role=None,
    host="",
    kind="token",
    status=200,
    code="DENIED",
    message="org/app is private or does not exist",
    login="none",
    registry="registry.example.com",
    location="",
)
"""A refusal of the proxy's own."""
PUSHED = replace(OWN, status=405, code="UNSUPPORTED", path="/v2/org/app/manifests/1")


def unknown(reason: str) -> Evidence:
    """Return the refusal of a release for that reason."""
    message = (
        f"org/app has no release 2.3 that can be pulled{reason}; its newest is 2.2"
    )
    return replace(OWN, code="NAME_UNKNOWN", message=message)


ACCESS: Mapping[str, Evidence] = {
    "no login": OWN,
    "key without the right": replace(OWN, login="key", is_like_key=True),
    "wrong key": replace(
        OWN, status=401, code="UNAUTHORIZED", login="key", is_like_key=True
    ),
    "password in place of a key": replace(
        OWN, status=401, code="UNAUTHORIZED", login="key", is_like_key=False
    ),
    "realm without TLS": answering(
        401,
        {"www-authenticate": "Bearer realm=x"},
        realm="http://proxy.example.com/auth/v1/token",
        client_scheme="https",
    ),
    "token whose time is over": replace(
        REFUSED, claims=CLAIMS | {"exp": NOW.timestamp() - 120}
    ),
    "clock of the API": replace(
        REFUSED,
        claims=CLAIMS | {"iat": NOW.timestamp() + 7200, "nbf": NOW.timestamp() + 7200},
        clocks={Role.REGISTRY: 1.0, Role.API: 7200.0},
    ),
    "clock of the registry": replace(
        REFUSED, clocks={Role.REGISTRY: 18_000.0, Role.API: 0.0}
    ),
    "token for another service": replace(
        REFUSED, claims=CLAIMS | {"aud": "other.example.com"}
    ),
    "token for another image": replace(REFUSED, location=f"v2/{'0' * 32}"),
    "token without a right": replace(
        REFUSED, claims=CLAIMS | {"sub": ""}, pullable=frozenset()
    ),
    "token of another issuer or key": REFUSED,
    "rights of the registry's own": replace(REFUSED, status=403, code="DENIED"),
    "token too long": replace(REFUSED, status=431, token_length=6200),
    "malformed name": replace(
        OWN,
        status=400,
        code="NAME_INVALID",
        message="'alpine' does not name a release",
    ),
    "no such release": unknown(""),
    "failed build": unknown(": 2.3.0 is there, and its build has the status failed"),
    "build under way": unknown(
        ": 2.3.0 is there, and its build has the status running"
    ),
    "draft": unknown(": 2.3.0-1 is a draft, which is pulled as 2.3.0-1 alone"),
    "invalidated release": unknown(
        ": 2.3.0 is invalidated, and is pulled as 2.3.0_rev0 alone"
    ),
    "failing tests": unknown(
        ": 2.3.0 does not pass its tests, and is pulled as 2.3.0_rev0 alone"
    ),
    "several images": replace(
        OWN,
        code="NAME_UNKNOWN",
        message="release 2.3.0 of org/app has several images: db, web; name one",
    ),
    "image elsewhere": replace(
        OWN,
        code="NAME_UNKNOWN",
        message="org/app/2.3 is stored in another registry than the one behind this"
        " proxy",
    ),
    "client too old for a type": answering(
        404,
        body=b"OCI index found, but accept header does not support OCI indexes",
        seen=ASKED,
        request={"accept": "application/vnd.docker.distribution.manifest.v2+json"},
    ),
    "lost image": answering(404, seen=ASKED),
    "lost manifest": answering(404, seen=replace(ASKED, reference="sha256:abababab")),
    "lost blob": answering(
        404, seen=replace(ASKED, kind="blob", reference="sha256:abababab")
    ),
    "mirror of another registry": replace(
        OWN, kind="manifest", status=403, namespace="docker.io"
    ),
    "push": replace(PUSHED, method="PUT", message="'PUT' is not possible"),
    "docker search": replace(
        PUSHED,
        status=404,
        path="/v1/search",
        message="nothing is served at '/v1/search'",
    ),
    "catalog": replace(
        PUSHED, status=404, path="/v2/_catalog", message="there is no catalog"
    ),
}
"""One for each thing that `access`, `content` and `client` can say."""

REALM = Evidence(
    Role.TOKEN,
    "auth.example.com",
    kind="token",
    name="library/alpine",
    now=NOW.timestamp(),
    seconds=10.0,
    registry="registry.example.com",
    has_own_names=True,
)
"""Where the tokens of a registry are issued whose names are its own."""
OWN_NAMES: Mapping[str, Evidence] = {
    "token server refuses connections": failing(Symptom.REFUSED, REALM),
    "token server does not answer": failing(Symptom.SILENT, REALM),
    "token server fails": answering(500, seen=REALM),
    "page instead of a token": answering(200, HTML, PAGE, REALM),
    "rate limit of the token server": answering(429, seen=REALM),
    "no login for the token server": answering(401, seen=REALM, login="none"),
    "wrong login for the token server": answering(401, seen=REALM, login="key"),
    "client that waits for the token server": replace(
        REALM, is_client_gone=True, seconds=15.02
    ),
    "push to the registry": replace(
        PUSHED,
        has_own_names=True,
        method="PUT",
        message="this proxy serves pulls only; push to the registry"
        " registry.example.com itself, and delete there",
    ),
    "no such tag": replace(
        answering(404, kind="manifest"),
        has_own_names=True,
        name="team/app",
        reference="9.9",
    ),
    "no such blob": replace(
        answering(404, kind="blob"),
        has_own_names=True,
        name="team/app",
        reference="sha256:abababab",
    ),
    "password that the registry does not take": replace(
        answering(401, {"www-authenticate": 'Basic realm="x"'}, kind="manifest"),
        has_own_names=True,
        login="key",
    ),
    "name that is none": replace(
        OWN,
        has_own_names=True,
        status=400,
        code="NAME_INVALID",
        message="'A' names no repository",
    ),
}
"""One for each thing that is said only where names are the registry's own."""


def as_own(seen: Evidence) -> Evidence:
    """Return the same, seen where names are the registry's own, which has no API."""
    role = Role.TOKEN if seen.role is Role.API else seen.role
    clocks: Mapping[Role, float] = {
        Role.TOKEN if each is Role.API else each: ahead
        for each, ahead in seen.clocks.items()
    }
    return replace(
        seen,
        role=role,
        host="auth.example.com" if role is Role.TOKEN else seen.host,
        message="it is refused" if seen.message else "",
        api="",
        clocks=clocks,
        has_own_names=True,
    )


SILENT: Mapping[str, Evidence] = {
    "a client that is stopped": replace(REGISTRY, is_client_gone=True, seconds=1.0),
    "a client that goes during the answer": replace(
        REGISTRY, is_client_gone=True, seconds=60.0, has_begun=True
    ),
    "a refusal of the proxy's own": replace(REGISTRY, role=None, status=404),
    "a challenge": answering(401, {"www-authenticate": "Bearer realm=x"}),
    "a registry's own refusal": answering(404, {"content-type": "application/json"}),
    "a packed blob that was asked for": answering(
        200,
        {"content-encoding": "gzip"},
        kind="blob",
        request={"accept-encoding": "gzip"},
    ),
    "a blob that is a page": answering(200, HTML, PAGE, kind="blob"),
    "a redirect": answering(307, kind="blob", led_to="s3.example.com"),
    "a manifest that is right": answering(
        200, digest=f"sha256:{'a' * 64}", body_digest=f"sha256:{'a' * 64}"
    ),
    "a condition of the client's": answering(412, seen=STORAGE),
    "a range that is none": answering(416, seen=STORAGE),
    "a status that HTTP has not": answering(600),
    "a coding without an end": answering(
        200, {"transfer-encoding": "gzip"}, is_endless=True
    ),
    "a failure without a name": replace(REGISTRY, failure="it broke"),
    "no more than a request": REGISTRY,
    "a list of repositories that a token is not for": replace(
        REFUSED, kind="catalog", location="", name=""
    ),
}
"""Where nothing is known to be wrong with any server."""


def _failed(words: str, name: str = "other.example.com", days: int = -60) -> Finding:
    """Return what is said of a handshake, so many days after the certificate ends."""
    now = CERTIFICATE.end + dt.timedelta(days=days)
    return handshake_failed(
        words, CERTIFICATE, name=name, port=443, now=now.timestamp(), seconds=30
    )


_MISTRUSTED = "(tlsv1 alert unknown ca)"
HANDSHAKES: Mapping[str, Finding] = {
    "client speaks TLS to a plain port": spoke_tls(30),
    "client that does not trust the certificate": _failed(_MISTRUSTED),
    "own certificate expired": _failed(_MISTRUSTED, days=28),
    "own certificate for another name": _failed(_MISTRUSTED, "proxy.example.com"),
    "client without TLS in common": _failed(
        "Client and mitmproxy cannot agree on a TLS version to use."
    ),
}
