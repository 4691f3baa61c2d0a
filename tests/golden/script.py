"""What is asked: each endpoint, each kind of name, each refusal, each failure."""

import json
from collections.abc import Callable
from urllib.parse import urlencode

from localcloud import LocalCloud
from localcloud.account import SESSION
from localcloud.relay import Failure, Fault, Relay
from localcloud.server import Request, Response
from tests.golden.play import AGENT, Play

BROWSER = "balenablocks/browser-aarch64"
PULL = f"{BROWSER}/2.3.8"
PRIVATE = "balenablocks/private-block"
ABSENT = "sha256:" + "ab" * 32
CLASSIC = (
    "docker/28.5.1 go/go1.24.8 kernel/6.1 os/linux arch/amd64"
    " UpstreamClient(Docker-Client/28.5.1 \\(linux\\))"
)
AGENTS = {
    "docker's classic store": (CLASSIC, "GET"),
    "docker's containerd store": (
        "docker/29.0.0 containerd-client/2.1.4 storage-driver/overlayfs",
        "HEAD",
    ),
    "containerd": ("containerd/v2.1.4", "HEAD"),
    "BuildKit": ("buildkit/v0.25", "HEAD"),
    "docker manifest": ("Docker-Client/28.5.1 (linux)", "GET"),
    "balena's engine": ("balena-engine/20.10.43", "GET"),
    "oras": ("oras/1.3.0", "GET"),
    "podman": ("containers/5.34.2 (github.com/containers/image)", "GET"),
    "crane": ("crane/0.20.6 go-containerregistry/v0.20.6", "HEAD"),
    "curl": ("curl/8.14.1", "GET"),
}
FOUND = (
    *("", "/latest", "/current", "/default", "/pinned", "/2.3.8", "/v2.3.8"),
    *("/2.3.8_rev1", "/2.3.8-rev1", "/2.9.3-1795452923826", "/2.4.1-1648554962021"),
    *("/2.0.0-beta.1", "/2.1.0_build.5", "/11e1ee2", "/a65921d1", f"/{'d' * 32}"),
    *("/2.3", "/2.3.x", "/2", "/v2.x", "/1.6", "/1.8", "/1.7.0/main", "/2.3.8/main"),
)
REFUSED = (
    *("/9.9.9", "/2.4.1", "/3.0.0", "/1.5.0", "/2.4", "/2.3.8_rev9", "/fffffff"),
    *("/main", "/1.7.0", "/1.7.0/web", "/2.3.8/main/x", "/2.3.8/latest", "/2.2.0"),
)
OTHERS = (
    *("balenablocks/multi-app", "balenablocks/multi-app/1.0.0"),
    *("balenablocks/multi-app/latest/db", "balenablocks/multi-app/1.0.0/nope"),
    *("balenablocks/empty-app", "balenablocks/twins/abcdef0", "otherorg/tracker"),
    *("balenablocks/mixedcase/2.0.0-rc1", "balenablocks/mixedcase/2.0.0-RC1"),
    *("balenablocks/elsewhere/1.0.0", "nobody/nothing", "nobody/nothing/1.0.0"),
    *("alpine", "a/b/c/d/e", "v2/567e62d1e73529e7a31757ac1f3fb902"),
)
TAGS = {
    BROWSER: ("2.3", "2", "2.3.8_rev1", "11e1ee2", "2.9.3", "9.9.9", "2.9.2", "main"),
    "balenablocks/many": ("1.30.0", "1.2.0", "9.9.9", "1.31"),
    "balenablocks/pinned-app": ("latest", "0.1", "2.1.0"),
    "balenablocks/multi-app": ("latest", "1.0.0"),
    "balenablocks/twins": ("abcdef0",),
    "balenablocks/empty-app": ("latest", "1.0.0"),
    "nobody/nothing": ("1",),
    PULL: ("latest", "2.3", "2.3.8", "9.9.9", "sha256-" + "0" * 64 + ".sig"),
}
HOST = b"Host: proxy.example\r\n"
BYE = b"Connection: close\r\n\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
RAW = (
    b"GET /v2/../v7/release HTTP/1.1\r\n" + HOST + BYE,
    b"GET /v2//manifests/latest HTTP/1.1\r\n" + HOST + BYE,
    b"GET /v2/a%2Fb/manifests/1 HTTP/1.1\r\n" + HOST + BYE,
    b"GET /v2/a/\xff/manifests/1 HTTP/1.1\r\n" + HOST + BYE,
    b"GET /v2/a/" + b"b" * 300 + b"/tags/list HTTP/1.1\r\n" + HOST + BYE,
    b"GET /v2/ HTTP/1.1\r\n" + BYE,
    b"GET /v2/ HTTP/1.1\r\nHost: a/b\r\n" + BYE,
    b"GET /v2/ HTTP/1.1\r\nHost: u@evil\r\n" + BYE,
    b'GET /v2/ HTTP/1.1\r\nHost: a",b="\r\n' + BYE,
    b"GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n" + BYE,
    b"GET http://evil.example/v2/ HTTP/1.1\r\n" + HOST + BYE,
    b"CONNECT evil.example:443 HTTP/1.1\r\n" + HOST + BYE,
    b"hello\r\n\r\n",
    b"get /v2/ HTTP/1.1\r\n" + HOST + BYE,
    b"POST /auth/v1/token HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n"
    + HOST + BYE + b"xxx",
    b"POST /auth/v1/token HTTP/1.1\r\nContent-Length: 999999999\r\n" + HOST + BYE,
    b"PUT /v2/a/b/blobs/uploads/1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
    + HOST + BYE,
    b"GET /v2/ HTTP/1.1\r\nUpgrade: websocket\r\nCookie: a=b\r\n" + HOST + BYE,
    b"GET /v2/ HTTP/1.1\r\nX-Forwarded-Host: evil.example\r\n" + HOST + BYE,
    b"GET /auth/v1/token HTTP/1.1\r\nAuthorization: Digest x\r\n" + HOST + BYE,
    b"GET /auth/v1/token HTTP/1.1\r\nAuthorization: Basic !!\r\n" + HOST + BYE,
    b"POST /auth/v1/token HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + FORM
    + HOST + BYE + b"18\r\ngrant_type=refresh_token\r\n0\r\n\r\n",
)  # fmt: skip
PATHS = (
    *("GET /ping", "HEAD /ping", "POST /ping", "GET /ready", "HEAD /ready"),
    *("GET /", "GET /v1/", "GET /v2", "GET /v2/", "HEAD /v2/", "POST /v2/"),
    *("GET /metrics", "GET /v7/release", "GET /v2/_catalog", "OPTIONS /v2/"),
    *("DELETE /auth/v1/token", "OPTIONS /auth/v1/token", "HEAD /auth/v1/token"),
    *(
        "GET /auth/v1/token",
        "GET /auth/v1/token?scope=x",
        "GET /auth/v1/token?apikey=k",
    ),
    f"GET /auth/v1/token?scope=repository:{PULL}:push,pull",
    f"GET /auth/v1/token?scope=repository:{PULL}:push",
    "GET /auth/v1/token?scope=registry:catalog:*",
    "GET /auth/v1/token?"
    + "&".join(f"scope=repository:a/b{n}:pull" for n in range(99)),
    *("GET /v2/A/b/manifests/1", "GET /v2/alpine/manifests/1"),
    *("HEAD /v2/A/b/manifests/1", "GET /v2/a/b/blobs/sha256:1"),
    *("GET /v2/a/b/manifests/.x", f"GET /v2/a/b/blobs/md5:{'0f' * 16}"),
    *("DELETE /v2/a/b/manifests/1", "PUT /v2/a/b/manifests/1"),
    *(f"POST /v2/{BROWSER}/blobs/uploads/", f"GET /v2/{BROWSER}/blobs/uploads/1"),
    *(f"GET /v2/{PULL}/referrers/sha256:0f", f"GET /v2/{PULL}/nothing/latest"),
    *(f"GET /v2/{PULL}/manifests/latest", f"GET /v2/{BROWSER}/manifests/2.3"),
    *(f"GET /v2/{BROWSER}/tags/list", f"HEAD /v2/{PULL}/manifests/latest"),
)
PLACES = ("http://169.254.169.254/latest", "ftp://127.0.0.1/x", "", None)
type Answer = Callable[[Request], Response | None]


def answering(status: int, body: bytes = b"", *headers: tuple[str, str]) -> Answer:
    """Return what answers everything in that way."""
    return lambda _: Response(status, headers, body)


API_FAULTS: dict[str, Answer] = {
    "500": answering(500),
    "429": answering(429, b"", ("Retry-After", "7")),
    "not JSON": answering(200, b"<html>"),
    "wrong shape": answering(200, b'{"d":[{}]}'),
    "huge": answering(200, b"[" + b" " * (5 << 20) + b"]"),
}
REGISTRY_FAULTS: dict[str, Answer] = {
    "500": answering(500, b"down at v2/567e62d1e73529e7a31757ac1f3fb902"),
    "503": answering(503, b"", ("Retry-After", "3")),
    "429": answering(429, b"", ("Retry-After", "9")),
    "403": answering(403, b"<html>"),
    "404": answering(404, b"{}", ("Content-Type", "application/json")),
    "redirect": answering(307, b"", ("Location", "http://169.254.169.254/latest")),
}


def add_what_is_missing(cloud: LocalCloud) -> None:
    """Add what the measured catalog does not have."""
    cloud.add_application("balenablocks/twins")
    for version, commit in (("1.0.0", "abcdef0123"), ("1.1.0", "abcdef0999")):
        cloud.add_release("balenablocks/twins", version, commit=commit.ljust(32, "0"))
    cloud.add_application("balenablocks/many")
    for number in range(32):
        name = "balenablocks/many"
        cloud.add_release(name, f"1.{number}.0", is_target=number == 31)
    cloud.add_application("balenablocks/elsewhere")
    added = cloud.add_release("balenablocks/elsewhere", "1.0.0", is_target=True)
    place = f"registry.example.com/{added.images[0].repository}"
    number = next(
        row["id"]
        for row in cloud.database.rows("image")
        if row["is_stored_at__image_location"] == added.images[0].location
    )
    cloud.database.change("image", number, {"is_stored_at__image_location": place})


def ask_everything(play: Play, cloud: LocalCloud) -> None:
    """Ask whatever has an answer of its own."""
    play.title("endpoints and methods")
    for line in PATHS:
        method, _, path = line.partition(" ")
        play.ask(method, path)
    play.title("malformed requests")
    for request in RAW:
        play.send(request)
    play.title("names that are found, and that are not")
    for ending in FOUND + REFUSED:
        play.pull(f"{BROWSER}{ending}")
    for name in OTHERS:
        play.pull(name)
    ask_by_tag(play)
    ask_as_clients(play)
    ask_with_keys(play, cloud)
    ask_with_wrong_tokens(play)
    ask_for_content(play)


def ask_by_tag(play: Play) -> None:
    """Ask for what tags select, and for lists of tags."""
    play.title("tags")
    for name, tags in TAGS.items():
        for tag in tags:
            play.pull(name, tag)
    for query in ("", "?n=3", "?n=3&last=2.3.7", "?n=0", "?n=x"):
        token = play.token(BROWSER)
        play.get(f"{BROWSER}/tags/list{query}", token)
    play.get(f"{PULL}/tags/list", play.token(PULL))


def ask_as_clients(play: Play) -> None:
    """Ask as each client does, whose user is to see the reason."""
    for title, (agent, method) in AGENTS.items():
        play.title(f"{title}: {agent}")
        play.agent = agent
        for name in (PULL, f"{BROWSER}/9.9.9"):
            play.pull(name, method=method)
        for tag in ("9.9.9", "2.4.1-1648554962021"):
            play.pull(BROWSER, tag, method=method)
        play.pull("nobody/nothing", method=method)
    play.agent = AGENT


def ask_with_keys(play: Play, cloud: LocalCloud) -> None:
    """Ask as somebody, in each way in which a key can come."""
    play.title("keys")
    carol, bob = cloud.keys["carol"], cloud.keys["bob"]
    for key in (carol, bob, cloud.keys["device"], "no-such-key"):
        play.pull(PRIVATE, key=key)
        play.pull(f"{PRIVATE}/1.0.0", key=key)
    for key in (carol, SESSION, "no-such-key"):
        play.token(PRIVATE, key=key, scheme="Bearer")
    play.token(PRIVATE, query=f"apikey={carol}")
    play.token(PRIVATE, BROWSER, "alpine", "otherorg/tracker/9", key=carol)
    play.token(PULL, query="account=u&service=registry.example.com&client_id=docker")
    form = {"username": "u", "password": carol, "service": "s", "client_id": "c"}
    for grant, scope in (
        ("password", f"repository:{PRIVATE}:pull"),
        ("password", f"repository:{PULL}:pull repository:{PRIVATE}:pull"),
        ("refresh_token", f"repository:{PRIVATE}:pull"),
    ):
        body = urlencode({"grant_type": grant, "scope": scope, **form})
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        play.ask("POST", "/auth/v1/token", kind, body.encode())
    play.ask("POST", "/auth/v1/token", {"Content-Type": "application/json"}, b"{}")


def ask_with_wrong_tokens(play: Play) -> None:
    """Ask with tokens that are another's, forged, or too long."""
    play.title("tokens")
    token, other = play.token(PULL), play.token("otherorg/tracker")
    jwt, _, suffix = token.partition("~")
    for forged in (
        other,
        jwt,
        f"{jwt}~%%",
        f"{jwt}~{suffix[:-3]}",
        f"{jwt}~{other.partition('~')[2]}",
        f"{other.partition('~')[0]}~{suffix}",
        f"{jwt[:-4]}AAAA~{suffix}",
        f"{jwt}~{'A' * 5000}",
        "x" * 9000,
        "x.y.z",
    ):
        play.get(f"{PULL}/manifests/latest", forged)
    play.ask("GET", "/v2/", {"Authorization": f"Bearer {token}"})
    play.ask("GET", "/v2/", {"Authorization": "Basic dTprZXk="})
    repository = "v2/567e62d1e73529e7a31757ac1f3fb902"
    play.get(f"{repository}/manifests/latest", play.token(repository))


def ask_for_content(play: Play) -> None:
    """Ask for blobs and manifests by their digests."""
    play.title("content")
    token, body = play.pull(PULL)
    manifest = json.loads(body)
    config, blob = manifest["config"]["digest"], manifest["layers"][-1]["digest"]
    small = manifest["layers"][0]["digest"]
    for digest in (config, small, blob, ABSENT):
        play.get(f"{PULL}/blobs/{digest}", token)
        play.get(f"{PULL}/blobs/{digest}", token, "HEAD")
    for wanted in ("bytes=0-3", "bytes=2-", "bytes=-50", "bytes=99999999-", "x=1"):
        play.get(f"{PULL}/blobs/{small}", token, Range=wanted)
    _, headers, _ = play.get(f"{PULL}/manifests/latest", token, "HEAD")
    digest = next(
        line.split()[1]
        for line in headers.splitlines()
        if line.lower().startswith("docker-content-digest")
    )
    fallback = digest.replace(":", "-")
    for reference in (digest, ABSENT, fallback, f"{fallback}.sig"):
        play.get(f"{PULL}/manifests/{reference}", token)
    for each in (digest, ABSENT):
        play.get(f"{PULL}/referrers/{each}", token)
    play.get(f"{PULL}/manifests/latest", token, If_None_Match=f'"{digest}"')
    play.get(f"{PULL}/manifests/latest?ns=docker.io", token)
    play.title("content of an application")
    token, _ = play.pull(BROWSER)
    for path in (f"manifests/{digest}", f"referrers/{digest}", f"blobs/{small}"):
        play.get(f"{BROWSER}/{path}", token)
    play.get(f"{BROWSER}/manifests/{fallback}.sig", token)


def look_for_content(play: Play) -> None:
    """Ask for what has to be looked for in several places."""
    play.title("content that is looked for")
    token = play.token(BROWSER)
    for kind in ("manifests", "blobs"):
        play.get(f"{BROWSER}/{kind}/{ABSENT}", token)
        play.get(f"{BROWSER}/{kind}/{ABSENT}", token, "HEAD")


def break_storage(play: Play, cloud: LocalCloud, digest: str) -> None:
    """Ask for a blob while the storage fails, or is where none may be."""
    assert cloud.registry
    assert cloud.storage
    token = play.token(PULL)
    for title, answer in REGISTRY_FAULTS.items():
        play.title(f"the storage: {title}")
        cloud.storage.interpose = answer
        for method in ("GET", "HEAD"):
            play.get(f"{PULL}/blobs/{digest}", token, method)
    cloud.storage.interpose = None
    for place in PLACES:
        play.title(f"the storage is at {place}")
        headers = () if place is None else (("Location", place),)
        answer = answering(307, b"", *headers)
        cloud.registry.interpose = lambda r, a=answer: (
            a(r) if "blobs" in r.path else None
        )
        play.get(f"{PULL}/blobs/{digest}", token)
    cloud.registry.interpose = None


def break_things(
    play: Play, cloud: LocalCloud, registry: Relay, api: Relay, digest: str
) -> None:
    """Ask while the API fails, and while the registry does."""
    assert cloud.registry
    token = play.token(PULL)
    for number, (title, fault) in enumerate(API_FAULTS.items()):
        play.title(f"the API: {title}")
        cloud.api.interpose = fault
        play.token(f"{BROWSER}/1.9.{number}")
        play.token(PULL)
    cloud.api.interpose = None
    for title, answer in REGISTRY_FAULTS.items():
        play.title(f"the registry: {title}")
        cloud.registry.interpose = answer
        for path in ("manifests/latest", f"blobs/{digest}", "tags/list"):
            play.get(f"{PULL}/{path}", token)
        play.get(f"{PULL}/manifests/latest", token, "HEAD")
    cloud.registry.interpose = None
    play.title("both are cut off")
    for relay in (registry, api):
        relay.fail(Fault(Failure.CUT, b"HTTP/1.1"))
    play.get(f"{PULL}/manifests/latest", token)
    play.token(f"{BROWSER}/1.9.8")
    for relay in (registry, api):
        relay.mend()
        relay.refuse()
    play.title("both are down")
    for method in ("GET", "HEAD"):
        play.get(f"{PULL}/manifests/latest", token, method)
        play.get(f"{PULL}/blobs/{digest}", token, method)
        play.ask(method, "/ready")
    play.token(f"{BROWSER}/1.9.9")
    for relay in (registry, api):
        relay.mend()
    play.title("all is well again")
    play.ask("GET", "/ready")
    play.pull(PULL)
