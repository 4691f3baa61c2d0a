"""What the proxy says is wrong where answers are not those that were due."""

import gzip
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import requests

from cause.finding import Cause
from localcloud import LocalCloud
from localcloud.relay import Failure, Relay
from localcloud.relay import Fault as Cut
from localcloud.server import Request, Response
from tests.integration.cause import (
    Bench,
    Fault,
    check,
    cloud_of,
    layer_of,
    ping,
    pull,
    take_blob,
    token_of,
)
from tests.integration.fault import IN_BLOB, IN_MANIFEST, port_of
from tests.integration.forward import squid
from tests.integration.scripted import registry
from tests.integration.session import plain_session

LOGIN_PAGE = "<!DOCTYPE html><html><title>Sign in to the network</title></html>"
HTML = ("Content-Type", "text/html; charset=utf-8")
JSON = ("Content-Type", "application/json")
ERROR = b'{"errors":[{"code":"UNKNOWN","message":"unknown error"}]}'

type Make = Callable[[Bench], None]


def behind(server: str, *, of: str = "registry", then: Make = pull) -> Make:
    """Return what puts nginx in front of the registry or of the API."""

    def make(bench: Bench) -> None:
        cloud = cloud_of(bench)
        url = cloud.registry_url if of == "registry" else cloud.api_url
        text = server.replace("$upstream", f"{url}; proxy_set_header Host $http_host")
        between = bench.nginx(text)
        if of == "registry":
            bench.front(between, API_URL=cloud.api_url)
        else:
            bench.front(cloud.registry_url, API_URL=between)
        then(bench)

    return make


def interposed(
    answers: Mapping[str, Response], then: Make, of: str = "registry"
) -> Make:
    """Return what lets something on the way answer requests with these in them."""

    def make(bench: Bench) -> None:
        cloud = cloud_of(bench)
        bench.front(cloud.registry_url, API_URL=cloud.api_url)
        bench.started()

        def interpose(request: Request) -> Response | None:
            return next(
                (a for part, a in answers.items() if part in request.target), None
            )

        server = cloud.registry if of == "registry" else cloud.api
        assert server
        server.interpose = interpose
        then(bench)

    return make


def answered(answer: bytes) -> Make:
    """Return what lets the registry answer everything by these bytes, and end."""

    def send(one: socket.socket) -> None:
        one.sendall(answer)
        one.shutdown(socket.SHUT_WR)

    def make(bench: Bench) -> None:
        bench.front(bench.enter(registry(send)), API_URL="http://127.0.0.1:1")
        ping(bench)

    return make


def relayed(fault: Cut, then: Make, **variables: str) -> Make:
    """Return what lets the cable to the registry fail after the token was had."""

    def make(bench: Bench) -> None:
        cloud = cloud_of(bench)
        relay = bench.enter(Relay(port_of(cloud.registry_url)))
        bench.front(
            f"http://127.0.0.1:{relay.port}", API_URL=cloud.api_url, **variables
        )
        bench.started()
        relay.fail(fault)
        then(bench)

    return make


def stored(change: Callable[[Bench, LocalCloud], str | None], **variables: str) -> Make:
    """Return what lets a storage refuse, where the proxy fetches blobs from it."""

    def make(bench: Bench) -> None:
        cloud = cloud_of(bench, redirect_blobs=True)
        variables.setdefault("BLOBS", "follow")
        bench.front(
            cloud.registry_url,
            BLOBS_ALLOW="127.0.0.0/8",
            **variables,
        )
        change(bench, cloud)
        take_blob(bench)

    return make


def other_url(cloud: LocalCloud, change: Callable[[str], str]) -> None:
    """Let the registry redirect to another URL than it would."""
    registry_, application = (
        cloud.registry,
        cloud.registry and cloud.registry.application,
    )
    assert registry_
    assert application

    def answer(request: Request) -> Response:
        sent = application(request)
        headers = [(n, change(v) if n == "Location" else v) for n, v in sent.headers]
        return Response(sent.status, tuple(headers), sent.body)

    registry_.application = answer


def badly_signed(_: Bench, cloud: LocalCloud) -> None:
    """The registry signs with another key than the storage has."""
    other_url(cloud, lambda url: url.replace("Signature=", "Signature=0"))


def expired(_: Bench, cloud: LocalCloud) -> None:
    """The clock of the storage is an hour ahead."""
    clock = cloud._clock
    cloud._blobs._clock = lambda: clock() + 3600
    signed = cloud._blobs.signed_url

    def sign(digest: str) -> str:
        cloud._blobs._clock = clock
        try:
            return signed(digest)
        finally:
            cloud._blobs._clock = lambda: clock() + 3600

    cloud._repositories._redirect = sign


def forbidden(_: Bench, cloud: LocalCloud) -> None:
    """The registry may not read there."""
    body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    assert cloud.storage
    cloud.storage.interpose = lambda _: Response(403, (), body)


def logged_in(bench: Bench, cloud: LocalCloud) -> None:
    """Something between proxy and storage adds a login."""
    between = bench.nginx(
        f"location / {{ proxy_pass {cloud.storage_url};"
        ' proxy_set_header Authorization "Basic dTpw"; }'
    )
    other_url(
        cloud,
        lambda url: url.replace(
            cloud.storage_url, between.replace("localhost", "127.0.0.1")
        ),
    )


def damaged(bench: Bench, then: Make = take_blob) -> None:
    """The registry keeps a blob of which a byte is wrong."""
    cloud = cloud_of(bench)
    bench.front(cloud.registry_url, CACHE=str(bench.folder / "cache"))
    for repository in cloud._repositories._repositories.values():
        for digest, content in repository.blobs.items():
            repository.blobs[digest] = bytes([content[0] ^ 1]) + content[1:]
    then(bench)


def changed_manifest(bench: Bench) -> None:
    """Something on the way writes another host into manifests."""
    cloud = cloud_of(bench)
    bench.front(cloud.registry_url)
    application = cloud.registry and cloud.registry.application
    assert cloud.registry
    assert application

    def answer(request: Request) -> Response:
        sent = application(request)
        if "/manifests/" in request.target and sent.status == 200:
            return Response(200, sent.headers, (sent.body or b"") + b"\n")
        return sent

    cloud.registry.application = answer
    pull(bench)


def packed_blob(bench: Bench) -> None:
    """Something on the way packs what nobody wants packed."""
    cloud = cloud_of(bench)
    bench.front(cloud.registry_url)
    packed = Response(200, (("Content-Encoding", "gzip"),), gzip.compress(b"blob"))
    assert cloud.registry
    cloud.registry.interpose = lambda r: packed if "/blobs/" in r.target else None
    take_blob(bench, **{"Accept-Encoding": "identity"})


def client_that_waits_in_vain(bench: Bench) -> None:
    """A client gives up sooner than the proxy."""
    cloud = cloud_of(bench)
    relay = bench.enter(Relay(port_of(cloud.registry_url)))
    bench.front(
        f"http://127.0.0.1:{relay.port}",
        options=("--set", "balena_registry_timeout=20"),
        API_URL=cloud.api_url,
    )
    bench.started()
    relay.fail(Cut(Failure.HANG))
    with plain_session() as session, suppress(requests.RequestException):
        session.get(f"{bench.url}/v2/", timeout=5.1)


def storage_that_no_client_reaches(bench: Bench) -> None:
    """A client is redirected, and comes back."""
    cloud = cloud_of(bench, redirect_blobs=True)
    bench.front(cloud.registry_url)
    path, token = layer_of(bench), token_of(bench)
    with plain_session() as session:
        session.headers["Authorization"] = f"Bearer {token}"
        for _ in range(3):
            answer = session.get(f"{bench.url}{path}", allow_redirects=False)
            assert answer.status_code == 307


def proxy_that_refuses(bench: Bench) -> None:
    """Nobody listens where the forward proxy should be."""
    bench.front("http://registry.test", HTTP_PROXY="http://127.0.0.1:1")
    ping(bench)


def proxy_that_wants_a_login(bench: Bench) -> None:
    """Squid asks for a login."""
    way = bench.enter(squid())
    bench.front("https://registry.test", HTTPS_PROXY=way.url(user=""))
    ping(bench)


def proxy_that_denies(bench: Bench) -> None:
    """Squid lets nobody through to that host."""
    way = bench.enter(squid())
    bench.front("https://refused.test", HTTPS_PROXY=way.url())
    ping(bench)


def proxy_for_the_api(bench: Bench) -> None:
    """The API is behind a forward proxy that is not there."""
    bench.front(
        cloud_of(bench).registry_url,
        API_URL="http://api.test",
        HTTP_PROXY="http://127.0.0.1:1",
    )
    pull(bench)


HTML_LOCATION = f"default_type text/html; return 200 '{LOGIN_PAGE}';"
PASS = "location / { proxy_pass $upstream; }"
FAULTS = (
    Fault(
        "cut: manifest",
        relayed(Cut(Failure.CUT, IN_MANIFEST), pull),
        Cause.NETWORK,
        ("the answer of the registry 127.0.0.1:", "broke off after", "bytes"),
        "its log",
    ),
    Fault(
        "stalled: manifest",
        relayed(Cut(Failure.STALL, IN_MANIFEST), pull),
        Cause.NETWORK,
        ("the registry 127.0.0.1:", "sent no more for 2 seconds"),
        "its load",
    ),
    Fault(
        "cut: blob",
        relayed(Cut(Failure.CUT, IN_BLOB, 300_000), take_blob),
        Cause.NETWORK,
        ("the answer of the registry 127.0.0.1:", "broke off after", "bytes"),
        "its log",
    ),
    Fault(
        "stalled: blob",
        relayed(Cut(Failure.STALL, IN_BLOB, 300_000), take_blob),
        Cause.NETWORK,
        ("the registry 127.0.0.1:", "sent no more for 2 seconds"),
        "its load",
    ),
    Fault(
        "longer Content-Length",
        answered(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}"),
        Cause.NETWORK,
        ("broke off after 2 of 10 bytes",),
        "Content-Length",
    ),
    Fault(
        "no length",
        answered(b"HTTP/1.0 200 OK\r\n\r\n{}"),
        Cause.BETWEEN,
        ("neither Content-Length nor chunks",),
        "proxy_http_version 1.1",
    ),
    Fault(
        "HTML: registry",
        behind("location / { " + HTML_LOCATION + " }", then=ping),
        Cause.REGISTRY,
        (
            "the registry localhost:",
            "answers 200 OK with an HTML page",
            "instead of the answer to GET /v2/",
        ),
        "REGISTRY_URL",
    ),
    Fault(
        "HTML: manifest",
        behind("location ~ /manifests/ { " + HTML_LOCATION + " } " + PASS),
        Cause.REGISTRY,
        (
            "the registry localhost:",
            "answers 200 OK with an HTML page",
            "instead of a manifest",
        ),
        "login page",
    ),
    Fault(
        "HTML: API",
        behind("location / { " + HTML_LOCATION + " }", of="API"),
        Cause.API,
        ("the API localhost:", "answers 200 OK with an HTML page", "instead of JSON"),
        "API_URL",
    ),
    Fault(
        "HTML: 404 of a web server",
        behind("location / { return 404; }", then=ping),
        Cause.REGISTRY,
        ("answers 404 Not Found with an HTML page from nginx",),
        "REGISTRY_URL",
    ),
    Fault(
        "no registry",
        interposed({"/v2/": Response(404, (JSON,), b"{}")}, ping),
        Cause.REGISTRY,
        ("answers 404 Not Found to GET /v2/, where a registry answers 200 or 401",),
        "REGISTRY_URL",
    ),
    Fault(
        "stripped WWW-Authenticate",
        behind(
            "location / { proxy_pass $upstream; proxy_hide_header WWW-Authenticate; }",
            then=ping,
        ),
        Cause.BETWEEN,
        ("the registry localhost:", "answers 401 without the header WWW-Authenticate"),
        "pass that header on",
    ),
    Fault(
        "stripped WWW-Authenticate: token",
        behind(
            "location / { proxy_pass $upstream; proxy_hide_header WWW-Authenticate; }"
        ),
        Cause.BETWEEN,
        ("the registry localhost:", "answers 401 without the header WWW-Authenticate"),
        "pass that header on",
    ),
    Fault(
        "gateway: registry",
        behind("location / { proxy_pass http://127.0.0.1:1; }", then=ping),
        Cause.REGISTRY,
        (
            "the registry localhost:",
            "answers 502 Bad Gateway with an HTML page from nginx",
            ": what stands in front of the registry has no answer from it",
        ),
        "see whether the registry runs",
    ),
    Fault(
        "gateway: API",
        behind("location / { proxy_pass http://127.0.0.1:1; }", of="API"),
        Cause.API,
        ("the API localhost:", "answers 502 Bad Gateway with an HTML page"),
        "see whether the API runs",
    ),
    Fault(
        "500: registry",
        interposed({"/manifests/": Response(500, (JSON,), ERROR)}, pull),
        Cause.REGISTRY,
        ("the registry 127.0.0.1:", "answers 500 Internal Server Error"),
        "look at its log",
    ),
    Fault(
        "500: API",
        interposed({"/": Response(500)}, pull, of="API"),
        Cause.API,
        ("the API 127.0.0.1:", "answers 500 Internal Server Error"),
        "look at its log",
    ),
    Fault(
        "something else than the API",
        interposed({"/": Response(200, (JSON,), b"[1]")}, pull, of="API"),
        Cause.API,
        (
            "the API 127.0.0.1:",
            "answers 200 OK, with something else than the balena API does",
        ),
        "API_URL",
    ),
    Fault(
        "404: API",
        interposed({"/": Response(404)}, pull, of="API"),
        Cause.API,
        ("the API 127.0.0.1:", "answers 404 Not Found"),
        "API_URL",
    ),
    Fault(
        "limit: registry",
        interposed({"/manifests/": Response(429, (("Retry-After", "17"),))}, pull),
        Cause.LIMIT,
        (
            "the registry 127.0.0.1:",
            "limits the rate of requests; it says to wait 17 seconds",
        ),
        "log in",
    ),
    Fault(
        "limit: API",
        interposed({"/": Response(429, (("Retry-After", "17"),))}, pull, of="API"),
        Cause.LIMIT,
        (
            "the API 127.0.0.1:",
            "limits the rate of requests; it says to wait 17 seconds",
        ),
        "that key",
    ),
    Fault(
        "packed as it is not",
        behind(
            "location ~ /manifests/ { proxy_pass $upstream;"
            " add_header Content-Encoding gzip always; } " + PASS
        ),
        Cause.BETWEEN,
        ("says that it is packed by gzip, and is not",),
        "Content-Encoding",
    ),
    Fault(
        "packed blob",
        packed_blob,
        Cause.BETWEEN,
        ("sends the blob packed by gzip, which the client did not ask for",),
        "gzip off",
    ),
    Fault(
        "changed manifest",
        changed_manifest,
        Cause.BETWEEN,
        (
            "the manifest that came from the registry 127.0.0.1:",
            "is sha256:",
            "and not sha256:",
        ),
        "change nothing of it",
    ),
    Fault(
        "storage: signature",
        stored(badly_signed),
        Cause.STORAGE,
        (
            "the storage 127.0.0.1:",
            "does not accept the signature",
            "(SignatureDoesNotMatch)",
        ),
        "compare the keys",
    ),
    Fault(
        "storage: expired",
        stored(expired),
        Cause.STORAGE,
        ("the storage 127.0.0.1:", "has expired (AccessDenied)"),
        "compare the clocks",
    ),
    Fault(
        "storage: denied",
        stored(forbidden),
        Cause.STORAGE,
        ("the storage 127.0.0.1:", "answers 403 Forbidden (AccessDenied)"),
        "may read there",
    ),
    Fault(
        "storage: login",
        stored(logged_in),
        Cause.BETWEEN,
        (
            "the storage 127.0.0.1:",
            "got a login beside the signature in the URL (InvalidArgument)",
        ),
        "Authorization",
    ),
    Fault(
        "storage: out of the client's reach",
        storage_that_no_client_reaches,
        Cause.STORAGE,
        (
            "the client was sent to 127.0.0.1:",
            "asks for it again: it probably cannot reach that host",
        ),
        "BLOBS=follow",
    ),
    Fault(
        "damaged blob: cache",
        damaged,
        Cause.STORAGE,
        ("what came from the registry 127.0.0.1:", "is not what its digest says"),
        "push the image anew",
    ),
    Fault(
        "client that waits in vain",
        client_that_waits_in_vain,
        Cause.CLIENT,
        (
            "the client gave up after 5 seconds, in which the registry 127.0.0.1:",
            "did not answer",
        ),
        "find out why the registry is slow",
    ),
    Fault(
        "proxy: refuses",
        proxy_that_refuses,
        Cause.NETWORK,
        (
            "the proxy 127.0.0.1:1, by which the registry registry.test is reached",
            "refuses the connection",
        ),
        "NO_PROXY",
    ),
    Fault(
        "proxy: login",
        proxy_that_wants_a_login,
        Cause.NETWORK,
        (
            "the registry registry.test is not reached: the proxy 127.0.0.1:",
            "asks for a login",
        ),
        "HTTPS_PROXY",
    ),
    Fault(
        "proxy: denied",
        proxy_that_denies,
        Cause.NETWORK,
        (
            "the registry refused.test is not reached: the proxy 127.0.0.1:",
            "refuses to connect to it: 403",
        ),
        "NO_PROXY",
    ),
    Fault(
        "proxy: API",
        proxy_for_the_api,
        Cause.NETWORK,
        (
            "the API api.test is not reached: the proxy 127.0.0.1:1 does not answer",
            "it refuses the connection",
        ),
        "NO_PROXY",
    ),
)


@pytest.mark.parametrize("fault", FAULTS, ids=[each.name for each in FAULTS])
def test_fault(fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cause is named in log, flow, explanation and report."""
    with ExitStack() as stack:
        check(fault, Bench(tmp_path, stack, monkeypatch))
