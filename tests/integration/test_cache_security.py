"""The cache of blobs and those who may not have them: they learn nothing by it."""

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests

from demo.proxy import Proxy
from localcloud import LocalCloud
from localcloud.issuer import Access
from resolver.token.claims import append_aliases
from resolver.token.suffix import Aliases
from tests.integration.blob import blob_of
from tests.integration.caching import (
    caching,
    digest_of,
    kept,
    made_up,
    pull,
    servers,
)
from tests.integration.fault import MANIFEST
from tests.integration.forward import squid
from tests.integration.mitmweb import mitmweb
from tests.integration.raw import receive
from tests.integration.registry import Installation, installed
from tests.integration.session import TIMEOUT, get_token, plain_session
from tests.integration.tool import find_tool, run, wait_until
from tests.integration.watched import signature_of
from tests.resolver.fake import base64url, fixed

PUBLIC = "balenablocks/browser-aarch64/2.3.8"
PUBLIC_LOCATION = "v2/567e62d1e73529e7a31757ac1f3fb902"
PRIVATE = "balenablocks/private-block/1.0.0"
PRIVATE_LOCATION = "v2/875ff9869a2373a5d97612c498e0bcf1"
OTHER = "otherorg/tracker/4.9.9"
HOURS = 3600.0
TYPES = f"{MANIFEST}, application/vnd.docker.distribution.manifest.v2+json"
SOME_DIGEST = digest_of(b"nobody has this")


def blobs_at(session: requests.Session, url: str, token: str) -> list[str]:
    """Get the manifest at a URL, and return the digests of its config and layers."""
    answer = session.get(
        url,
        headers={"Accept": TYPES, "Authorization": f"Bearer {token}"},
        timeout=TIMEOUT,
    )
    manifest = answer.json()
    return [each["digest"] for each in (manifest["config"], *manifest["layers"])]


@dataclass(frozen=True, slots=True)
class Setting:
    """A cloud, its clock, and a proxy whose cache has one blob of two."""

    cloud: LocalCloud
    clock: SimpleNamespace
    """It is `ahead` by so many seconds."""
    folder: Path
    proxy: Proxy
    there: str
    """A layer of the private image, which is in the cache."""
    absent: str
    """Its config, which is not."""
    public: str
    """A layer of the public image, which is in the cache."""

    @property
    def url(self) -> str:
        """The proxy's."""
        return f"http://{self.proxy.host}"

    def token(self, *names: str, key: str | None = None) -> str:
        """Return a token for images, which was shown no manifest."""
        return get_token(self.url, *names, key=key and self.cloud.keys[key])

    def ask(
        self, name: str, digest: str, token: str | None, method: str = "GET"
    ) -> tuple[int, dict[str, str], str, list[tuple[str, str, str | None]]]:
        """Return all that somebody can see of a blob, and what upstream saw of him."""
        before = [len(server.requests) for server in servers(self.cloud)]
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with plain_session() as session:
            answer = session.request(
                method,
                f"{self.url}/v2/{name}/blobs/{digest}",
                headers=headers,
                timeout=TIMEOUT,
            )
        name = answer.headers["X-Request-Id"]
        sent = {
            key: value.replace(digest, "DIGEST")
            for key, value in answer.headers.items()
        }
        sent.pop("X-Request-Id")
        body = answer.text.replace(digest, "DIGEST").replace(name[:8], "ID")
        seen = [
            (one.method, one.target.replace(digest, "DIGEST"), one.header("Range"))
            for server, count in zip(servers(self.cloud), before, strict=True)
            for one in list(server.requests)[count:]
        ]
        return answer.status_code, sent, body, seen


@pytest.fixture(scope="module", params=[False, True], ids=["streaming", "redirecting"])
def started(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Setting]:
    """Fill a cache by those who may."""
    folder, clock = tmp_path_factory.mktemp("cache"), SimpleNamespace(ahead=0.0)
    with (
        LocalCloud(
            clock=lambda: time.time() + clock.ahead, redirect_blobs=request.param
        ) as cloud,
        caching(cloud.registry_url, folder) as proxy,
        plain_session() as session,
    ):
        url, found = f"http://{proxy.host}", {}
        for alias, key in ((PRIVATE, cloud.keys["carol"]), (PUBLIC, None)):
            token = get_token(url, alias, key=key)
            session.headers["Authorization"] = f"Bearer {token}"
            found[alias] = blobs_at(
                session, f"{url}/v2/{alias}/manifests/latest", token
            )
            layer = found[alias][-1]
            assert pull(session, f"{url}/v2/{alias}/blobs/{layer}").is_whole(layer)
            assert kept(folder, layer).exists()
        config, *_, layer = found[PRIVATE]
        yield Setting(cloud, clock, folder, proxy, layer, config, found[PUBLIC][-1])


@pytest.fixture
def setting(started: Setting) -> Iterator[Setting]:
    """The same, whose clock is right again after the test."""
    yield started
    started.clock.ahead = 0.0
    assert "Traceback" not in started.proxy.log


def forged(setting: Setting) -> str:
    """Return a token for the public image, with an alias of the private one."""
    jwt = setting.token(PUBLIC).partition("~")[0]
    return append_aliases(jwt, Aliases({PRIVATE: fixed(PRIVATE_LOCATION)}))


def unsigned(setting: Setting) -> str:
    """Return a token of one's own making, for the private image."""
    del setting
    access = [{"type": "repository", "name": PRIVATE_LOCATION, "actions": ["pull"]}]
    payload = {"access": access, "exp": int(time.time()) + 3600}
    jwt = ".".join(
        base64url(json.dumps(p).encode()) for p in ({"alg": "none"}, payload)
    )
    return append_aliases(f"{jwt}.x", Aliases({PRIVATE: fixed(PRIVATE_LOCATION)}))


STRANGERS: dict[str, tuple[str, Callable[[Setting], str | None]]] = {
    "no token": (PRIVATE, lambda _: None),
    "no token at a location": (PRIVATE_LOCATION, lambda _: None),
    "a token for a public image": (PRIVATE, lambda s: s.token(PUBLIC)),
    "the same at a location": (PRIVATE_LOCATION, lambda s: s.token(PUBLIC)),
    "a token of another organization": (PRIVATE, lambda s: s.token(OTHER, key="bob")),
    "a token that the API refused": (PRIVATE, lambda s: s.token(PRIVATE, key="bob")),
    "a forged alias": (PRIVATE, forged),
    "a plain token": (
        PRIVATE_LOCATION,
        lambda s: s.token(PUBLIC).partition("~")[0],
    ),
    "a token that nobody signed": (PRIVATE, unsigned),
    "the same at its location": (PRIVATE_LOCATION, unsigned),
    "what is no token": (PRIVATE_LOCATION, lambda _: "x.y.z"),
    "an API key": (PRIVATE_LOCATION, lambda s: s.cloud.keys["carol"]),
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("stranger", STRANGERS)
def test_stranger_learns_nothing(setting: Setting, stranger: str, method: str) -> None:
    """What is in the cache and what is not are the same to him, and to the registry."""
    name, token_of = STRANGERS[stranger]
    token = token_of(setting)
    assert kept(setting.folder, setting.there).exists()
    assert not kept(setting.folder, setting.absent).exists()
    status, *there = setting.ask(name, setting.there, token, method)
    assert status in (401, 403)
    assert [status, *there] == list(setting.ask(name, setting.absent, token, method))
    assert [status, *there] == list(setting.ask(name, SOME_DIGEST, token, method))


def test_expired_token(setting: Setting) -> None:
    """The registry says that it is over, whatever is in the cache."""
    token = setting.token(PRIVATE, key="carol")
    setting.clock.ahead = 5 * HOURS
    status, *there = setting.ask(PRIVATE, setting.there, token)
    assert status == 401
    assert [status, *there] == list(setting.ask(PRIVATE, setting.absent, token))


def test_grant_ends_with_its_token(setting: Setting) -> None:
    """Who was shown the manifest has the blob for as long as the token holds."""
    setting.clock.ahead = 3 - 4 * HOURS  # It is over in three seconds.
    token = setting.token(PRIVATE, key="carol")
    end = time.time() + 4
    setting.clock.ahead = 0.0
    with plain_session() as session:
        blobs_at(session, f"{setting.url}/v2/{PRIVATE}/manifests/latest", token)
    status, *_, seen = setting.ask(PRIVATE, setting.there, token)
    assert (status, seen) == (200, [])
    setting.clock.ahead = 100.0  # The registry is patient for a minute.
    wait_until(lambda: time.time() > end, "the end of the token")
    status, *_, seen = setting.ask(PRIVATE, setting.there, token)
    assert status == 401
    assert seen


@pytest.mark.parametrize("is_public", [False, True])
def test_digest_of_another_application(setting: Setting, *, is_public: bool) -> None:
    """That it is known elsewhere, to whomever, is no permission here."""
    with plain_session() as session:
        if is_public:  # Somebody who has a private image asks it for a public blob.
            token, name = setting.token(PRIVATE, key="carol"), PRIVATE
            digest = setting.public
        else:
            token, name = setting.token(PUBLIC), PUBLIC
            digest = setting.there
        blobs_at(session, f"{setting.url}/v2/{name}/manifests/latest", token)
    status, *there = setting.ask(name, digest, token)
    assert status == 404
    assert [status, *there] == list(setting.ask(name, SOME_DIGEST, token))


def test_grant_is_for_one_place(setting: Setting) -> None:
    """A token for two images that was shown one of them is asked about the other."""
    token = setting.token(PUBLIC, PRIVATE, key="carol")
    with plain_session() as session:
        blobs_at(session, f"{setting.url}/v2/{PUBLIC}/manifests/latest", token)
    assert setting.ask(PRIVATE, setting.public, token)[0] == 404
    status, *_, seen = setting.ask(PRIVATE, setting.there, token)
    assert status == 200
    assert len(seen) >= 1  # The registry was asked whether.


def ports(proxy: Proxy) -> set[int]:
    """Return the ports of loopback on which the process listens."""
    pid, found = proxy.process.pid, set()
    sockets = {
        link.readlink().name
        for link in Path(f"/proc/{pid}/fd").iterdir()
        if link.is_symlink()
    }
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        (
            _,
            local,
            _,
            state,
            *_,
        ) = line.split()
        if state == "0A" and f"socket:[{line.split()[9]}]" in sockets:
            found.add(int(local.partition(":")[2], 16))
    return found


GARBAGE = (
    b"GET /{digest} HTTP/1.1\r\n\r\n",
    b"GET /{digest}?ticket= HTTP/1.1\r\n\r\n",
    b"GET /{digest}?ticket=AAAAAAAAAAAAAAAAAAAAAA HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\r\n\r\n",
    b"\x16\x03\x01" + bytes(1000) + b"\r\n\r\n",
    b"GET " + b"x" * 100_000 + b"\r\n\r\n",
    b"GET /\xff?ticket=\xff\xfe HTTP/1.1\r\n\r\n",
)


def test_loopback_server(setting: Setting) -> None:
    """Whoever finds its port gets not a byte, and disturbs nobody."""
    (port,) = ports(setting.proxy) - {setting.proxy.port}
    token = setting.token(PRIVATE, key="carol")
    for text in GARBAGE:
        request = text.replace(b"{digest}", setting.there.encode())
        with socket.create_connection(("127.0.0.1", port), TIMEOUT) as connection:
            connection.sendall(request)
            assert receive(connection) == b""
    with ExitStack() as stack:
        idle = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), TIMEOUT))
            for _ in range(500)
        ]
        for connection in idle[::2]:
            connection.sendall(b"GET /")
        for _ in range(3):
            assert setting.ask(PRIVATE, setting.there, token)[0] == 200
    assert setting.ask(PRIVATE, setting.there, token)[0] == 200


def test_nothing_secret_is_written(setting: Setting, tmp_path: Path) -> None:
    """Neither ticket, signed URL nor token is in log or saved flows (T7)."""
    saved = tmp_path / "flows"
    loud = ("--set", "termlog_verbosity=debug", "--flow-detail", "4", "-w", str(saved))
    registry_url = setting.cloud.registry_url
    with caching(registry_url, tmp_path / "cache", *loud) as proxy:
        url = f"http://{proxy.host}"
        token = get_token(url, PRIVATE, key=setting.cloud.keys["carol"])
        (port,) = ports(proxy) - {proxy.port}
        with plain_session() as session:
            session.headers["Authorization"] = f"Bearer {token}"
            place = f"{url}/v2/{PRIVATE}/blobs/{setting.there}"
            assert pull(session, place).is_whole(setting.there)
            assert pull(session, place).is_whole(setting.there)
            assert pull(session, place, range="bytes=1-5").status == 206
            assert pull(session, place, range="bytes=999999999-").status == 416
            assert session.head(place, timeout=TIMEOUT).status_code == 200
        log = proxy.log
    flows = saved.read_bytes().decode("latin-1")
    assert "from the cache" in flows
    signatures = {
        one.query.partition("Signature=")[2]
        for server in servers(setting.cloud)
        for one in server.requests
        if "Signature=" in one.query
    }
    for secret in {token, signature_of(token), *signatures}:
        assert secret not in log
        assert secret not in flows
    for text in (log, flows):
        assert not re.search(r"ticket=[A-Za-z0-9_-]{10}", text)
    assert "Traceback" not in log
    assert port


def test_forward_proxy_sees_no_blob_of_the_cache(
    cloud: LocalCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the process sends itself leaves it by no proxy."""
    with squid(has_login=False) as forward:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            monkeypatch.setenv(name, forward.url(user=""))
        monkeypatch.setenv("NO_PROXY", "")
        with caching(cloud.registry_url, tmp_path) as proxy:
            with blob_of(proxy) as blob:
                for _ in range(3):
                    assert blob.is_whole(blob.ask())
            (port,) = ports(proxy) - {proxy.port}
            assert forward.passages
            assert not any(f":{port}" in each.target for each in forward.passages)


def test_cached_blob_in_mitmweb(cloud: LocalCloud, tmp_path: Path) -> None:
    """A flow says where the blob came from; a replay proves nothing to anybody."""
    cache = {"CACHE": str(tmp_path / "cache")}
    with mitmweb(cloud.registry_url, tmp_path, environment=cache) as (
        proxy,
        web,
    ):
        with blob_of(proxy) as blob:
            for _ in range(2):
                assert blob.is_whole(blob.ask())
        name = web.find("from the cache")
        had = web.everything()
        assert not any(
            re.search(r"ticket=[A-Za-z0-9_-]{10}", text) for text in had.values()
        )
        web.act(f"/flows/{name}/replay")
        wait_until(lambda: web.command("replay.client.count") == 0, "the replay")
        (flow,) = [flow for flow in web.flows() if flow["id"] == name]
        assert flow["response"]["status_code"] == 401
        assert "Traceback" not in proxy.log


def test_client_with_tls(cloud: LocalCloud, tmp_path: Path) -> None:
    """It has the same bytes, cold and warm; HTTP/2 is not offered."""
    variables = {"TLS": "authority"}
    with caching(cloud.registry_url, tmp_path / "cache", **variables) as proxy:
        url = f"http://{proxy.host}"
        token = get_token(url, PUBLIC)
        with plain_session() as session:
            place = f"{url}/v2/{PUBLIC}/manifests/latest"
            digest = blobs_at(session, place, token)[-1]
        for number in range(3):
            target = tmp_path / f"blob{number}"
            said = run(
                find_tool("curl"),
                *("--silent", "--insecure", "--http2", "--fail", "--noproxy", "*"),
                *("--header", f"Authorization: Bearer {token}"),
                *("--write-out", "%{http_version} %{http_code}", "--output", target),
                f"https://{proxy.host}/v2/{PUBLIC}/blobs/{digest}",
                environment={},
            )
            assert said == "1.1 200"
            assert digest_of(target.read_bytes()) == digest
        wait_until(lambda: proxy.log.count("from the cache, ") == 2, "two lines")


@dataclass(frozen=True, slots=True)
class Real:
    """The real registry, and a proxy with a cache in front of it."""

    installation: Installation
    proxy: Proxy
    folder: Path
    digest: str
    token: str
    direct: str
    """The JWT for the registry itself."""

    def compare(
        self, method: str, **headers: str
    ) -> tuple[dict[str, object], dict[str, object]]:
        """Return what the registry answers itself, and what the proxy does."""
        direct = f"{self.installation.url}/v2/{PUBLIC_LOCATION}/blobs/{self.digest}"
        url = f"http://{self.proxy.host}/v2/{PUBLIC}/blobs/{self.digest}"
        return (
            self._ask(method, direct, self.direct, headers),
            self._ask(method, url, self.token, headers),
        )

    def _ask(
        self, method: str, url: str, token: str, headers: dict[str, str]
    ) -> dict[str, object]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent |= {"Accept-Encoding": "identity", "Authorization": f"Bearer {token}"}
        with plain_session() as session:
            answer = session.request(
                method, url, headers=sent, timeout=TIMEOUT, stream=True
            )
            fields = {name: answer.headers.get(name) for name in FIELDS}
            is_error = answer.status_code >= 400
            if is_error:  # Its words are our own, and it declares a wrong length.
                fields.pop("Content-Length")
                fields.pop("Content-Type")
                fields.pop("Docker-Content-Digest")
                fields.pop("ETag")
                return {"status": answer.status_code, **fields}
            found = {"status": answer.status_code, "body": answer.content, **fields}
        boundary = (fields["Content-Type"] or "").partition("boundary=")[2]
        if boundary:
            return {
                key: str(each).replace(boundary, "B") for key, each in found.items()
            }
        return found


FIELDS = (
    *("Content-Length", "Content-Range", "ETag", "Docker-Content-Digest"),
    *("Accept-Ranges", "Content-Type", "Content-Encoding"),
)
TAG = '"{digest}"'
HEADERS: dict[str, dict[str, str]] = {
    "whole": {},
    "from the first byte": {"range": "bytes=0-"},
    "first bytes": {"range": "bytes=0-99"},
    "the middle": {"range": "bytes=1000-1999"},
    "the end": {"range": "bytes=-100"},
    "more than there is": {"range": "bytes=-999999999"},
    "past the end": {"range": "bytes=1000-999999999"},
    "beyond the end": {"range": "bytes=999999999-"},
    "backwards": {"range": "bytes=9-5"},
    "none from the end": {"range": "bytes=-0"},
    "several": {"range": "bytes=0-1,5-6"},
    "another unit": {"range": "lines=0-1"},
    "nonsense": {"range": "bytes=a-b"},
    "spaces": {"range": "bytes= 0-5"},
    "known": {"if_none_match": TAG},
    "weakly known": {"if_none_match": f"W/{TAG}"},
    "one of several": {"if_none_match": f'"x", {TAG}'},
    "any": {"if_none_match": "*"},
    "unknown": {"if_none_match": '"x"'},
    "without quotes": {"if_none_match": "{digest}"},
    "known, and a range": {"if_none_match": TAG, "range": "bytes=0-9"},
    "if it is the same": {"if_range": TAG, "range": "bytes=5-9"},
    "if it is weakly the same": {"if_range": f"W/{TAG}", "range": "bytes=5-9"},
    "if it is another": {"if_range": '"x"', "range": "bytes=5-9"},
    "if it is not newer": {
        "if_range": "Sun, 29 Nov 2026 10:00:00 GMT",
        "range": "bytes=5-9",
    },
    "if it matches": {"if_match": TAG},
    "if modified": {"if_modified_since": "Sun, 29 Nov 2026 10:00:00 GMT"},
}


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """Run them, and let the proxy know the manifest."""
    folder = tmp_path_factory.mktemp("real")
    with (
        installed(folder) as installation,
        caching(installation.url, folder / "cache") as proxy,
        plain_session() as session,
    ):
        url = f"http://{proxy.host}"
        token = get_token(url, PUBLIC)
        digest = blobs_at(session, f"{url}/v2/{PUBLIC}/manifests/latest", token)[-1]
        access = [Access(PUBLIC_LOCATION, ("pull",))]
        direct = installation.cloud.issuer.issue("", access)
        yield Real(installation, proxy, folder / "cache", digest, token, direct)


@pytest.mark.parametrize("is_warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("headers", HEADERS)
def test_answer_is_the_registrys(
    real: Real, method: str, headers: str, *, is_warm: bool
) -> None:
    """Field by field, whether the blob is in the cache or not (C4)."""
    path = kept(real.folder, real.digest)
    if is_warm:
        assert real.compare("GET")[1]["status"] == 200
        assert path.exists()
    else:
        path.unlink(missing_ok=True)
    values = {
        name: value.replace("{digest}", real.digest)
        for name, value in HEADERS[headers].items()
    }
    expected, got = real.compare(method, **values)
    assert got == expected


def test_manifest_that_names_what_is_anothers(real: Real) -> None:
    """The registry takes none; were it to, its own word on the blob would count."""
    content = made_up("private", 5000)
    issuer, registry = real.installation.cloud.issuer, real.installation.url
    mine, theirs = f"v2/{'a' * 32}", f"v2/{'b' * 32}"
    config = b"{}"

    def push(session: requests.Session, name: str, blob: bytes) -> str:
        begun = session.post(f"{registry}/v2/{name}/blobs/uploads/", timeout=TIMEOUT)
        digest = digest_of(blob)
        session.put(
            begun.headers["Location"],
            params={"digest": digest},
            data=blob,
            timeout=TIMEOUT,
        ).raise_for_status()
        return digest

    with plain_session() as session:
        both = [Access(name, ("pull", "push")) for name in (mine, theirs)]
        session.headers["Authorization"] = f"Bearer {issuer.issue('', both)}"
        digest = push(session, theirs, content)
        owner = issuer.issue("", [Access(theirs, ("pull",))])
        with plain_session() as owners:
            owners.headers["Authorization"] = f"Bearer {owner}"
            url = f"http://{real.proxy.host}/v2/{theirs}/blobs/{digest}"
            assert pull(owners, url).is_whole(digest)
        assert kept(real.folder, digest).exists()
        mallory = issuer.issue("", [Access(mine, ("pull", "push"))])
        session.headers["Authorization"] = f"Bearer {mallory}"
        push(session, mine, config)
        layer_type = "application/vnd.oci.image.layer.v1.tar"
        foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar"
        taken = 0
        for media_type, more in (
            (layer_type, {}),
            (layer_type, {"urls": ["https://example.com/x"]}),
            (layer_type, {"URLS": ["https://example.com/x"]}),
            (foreign, {"urls": ["https://example.com/x"]}),
            (foreign, {}),
        ):
            layer = {"mediaType": media_type, "digest": digest, "size": 5000, **more}
            manifest = {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": {
                    "mediaType": "application/vnd.oci.image.config.v1+json",
                    "digest": digest_of(config),
                    "size": len(config),
                },
                "layers": [layer],
            }
            answer = session.put(
                f"{registry}/v2/{mine}/manifests/latest",
                data=json.dumps(manifest),
                headers={"Content-Type": MANIFEST},
                timeout=TIMEOUT,
            )
            taken += answer.status_code == 201
            base = f"http://{real.proxy.host}/v2/{mine}"
            shown = session.get(
                f"{base}/manifests/latest",
                headers={"Accept": MANIFEST},
                timeout=TIMEOUT,
            )
            assert (shown.status_code == 200) == bool(taken)
            assert pull(session, f"{base}/blobs/{digest}").status == 404
