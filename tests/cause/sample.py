"""What was seen in cases that have names: for tests of the rules, and for the page."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace

from cause.certificate import Certificate
from cause.evidence import Evidence
from cause.finding import Role
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
    "client that is too slow": replace(STORAGE, is_client_gone=True, is_slow=True),
}
"""One for each thing that `cause.network` can say."""

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
}
"""Where nothing is known to be wrong with any server."""
