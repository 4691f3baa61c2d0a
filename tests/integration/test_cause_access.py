"""What the proxy says is wrong where somebody may not pull, or asks for what is not."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from mitmproxy import http

from cause.client import never_came_back
from cause.finding import Cause, Finding
from demo.proxy import Proxy
from localcloud import LocalCloud
from localcloud.image import Description, build_image
from localcloud.relay import Failure, Relay
from localcloud.relay import Fault as Cut
from localcloud.server import Request, Response, Server
from mitm.story.kind import Outcome
from mitm.story.record import Record
from registry_proxy.port import free_port
from resolver.grammar.challenge import TOKEN_PATH, parse_challenge
from tests.authority import Authority
from tests.client.client import Skopeo
from tests.integration.cause import Bench, Fault, check
from tests.integration.fault import ALIAS, port_of
from tests.integration.registry import Installation, htpasswd, installed, seed, serving
from tests.integration.scripted import ask
from tests.integration.session import get_token
from tests.integration.tool import ToolError, find_tool, run, wait_until

PRIVATE = "balenablocks/private-block/1.0.0"
BIG = "balenablocks/multi-app/1.0.0/web"
STORED = "v2/567e62d1e73529e7a31757ac1f3fb902"
OWN_NAME = "team/app"
OLD_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
KEY = "k" * 32
PASSWORD = "correct-horse-battery"
USER = "somebody"
HOURS = 3600.0

type Make = Callable[[Bench, Installation], object]


class Row(NamedTuple):
    """A row of the table of faults."""

    make: Make
    fault: Cause
    sentence: Sequence[str]
    advice: str


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A real registry, in which every fault has its own releases."""
    with installed(tmp_path_factory.mktemp("registry")) as made:
        yield made


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Where a fault is made."""
    with ExitStack() as stack:
        yield Bench(tmp_path, stack, monkeypatch)


def pull(bench: Bench, name: str, key: str | None = None) -> None:
    """Let skopeo pull in vain."""
    assert bench.proxy
    with pytest.raises(ToolError):
        Skopeo(bench.folder / "skopeo").pull(f"{bench.proxy.host}/{name}", key)


def curl(*words: str) -> None:
    """Let curl ask, whatever comes of it."""
    with suppress(ToolError):
        run(find_tool("curl"), "-sS", *words, environment={"NO_PROXY": "*"})


def pulling(name: str, key: str | None = None) -> Make:
    """Return what pulls a name, with the key of somebody."""

    def make(bench: Bench, there: Installation) -> None:
        bench.front(there.url)
        pull(bench, name, there.cloud.keys.get(key, key) if key else None)

    return make


def releasing(app: str, name: str, version: str = "1.4.0", **release: object) -> Make:
    """Return what pulls a name of an application with one release."""

    def make(bench: Bench, there: Installation) -> None:
        slug = f"balenablocks/{app}"
        there.cloud.add_application(slug)
        there.cloud.add_release(slug, version, **release)  # type: ignore[arg-type]
        seed(there.cloud.images[-1:], there.storage.parent)
        bench.front(there.url)
        pull(bench, f"{slug}/{name}")

    return make


def asking(path: str, *words: str) -> Make:
    """Return what asks for a path, with the token for the release."""

    def make(bench: Bench, there: Installation) -> None:
        url = f"http://{bench.front(there.url).host}"
        token = get_token(url, ALIAS)
        curl("-H", f"Authorization: Bearer {token}", *words, f"{url}{path}")

    return make


def damaged(part: str) -> Make:
    """Return what pulls a release whose image the registry has lost in part."""

    def make(bench: Bench, there: Installation) -> None:
        slug = f"balenablocks/lost-{part}"
        there.cloud.add_application(slug)
        release = there.cloud.add_release(slug, "1.0.0")
        image = there.cloud.images[-1]
        seed([image], there.storage.parent)
        data = there.storage / "docker/registry/v2"
        if part == "blob":
            digest = image.blobs[0].digest.partition(":")[2]
            (data / "blobs/sha256" / digest[:2] / digest / "data").unlink()
        else:
            (repository,) = (each.repository for each in release.images)
            tags = data / "repositories" / repository / "_manifests/tags"
            tags.rename(tags.with_name("tags-lost"))
        bench.front(there.url)
        pull(bench, f"{slug}/1.0.0")

    return make


def mirroring(bench: Bench, there: Installation) -> None:
    """Containerd takes the proxy for a mirror of Docker's registry."""
    # The token request has no ``ns`` in it, and is another replica's here.
    with Proxy(there.url) as replica:
        token = get_token(f"http://{replica.host}", "library/alpine")
    url = f"http://{bench.front(there.url).host}/v2/library/alpine/manifests/latest"
    curl("-I", "-H", f"Authorization: Bearer {token}", f"{url}?ns=docker.io")


def pushing(bench: Bench, there: Installation) -> None:
    """Somebody pushes what was pulled."""
    host = bench.front(there.url).host
    client = Skopeo(bench.folder / "skopeo")
    client.pull(f"{host}/{ALIAS}")
    with pytest.raises(ToolError):
        run(
            *(find_tool("skopeo"), "copy", "--dest-tls-verify=false"),
            *(f"dir:{client.folder}/copy", f"docker://{host}/{ALIAS}"),
            environment=client.environment,
        )


def guarded(bench: Bench, there: Installation, **changes: str) -> None:
    """Pull from a registry whose settings of tokens have these changes."""
    cloud, folder = there.cloud, there.storage.parent
    bundle = cloud.issuer.certificate_bundle(bench.folder / "token.pem")
    token = {
        "realm": f"{cloud.api_url}/auth/v1/token",
        "service": cloud.registry_host,
        "issuer": cloud.issuer.name,
        "rootcertbundle": str(bundle),
    }
    port = free_port()
    bench.enter(serving(folder, port, {"auth": {"token": token | changes}}))
    # The API says that its images are at the other one.
    bench.front(f"http://localhost:{port}")
    url = f"http://{bench.proxy.host if bench.proxy else ''}"
    token_text = get_token(url, STORED)
    ask(f"{url}/v2/{STORED}/manifests/latest", token_text)


def other_service(bench: Bench, there: Installation) -> None:
    """The registry has another name than the one that the API issues tokens for."""
    guarded(bench, there, service="other.example")


def other_key(bench: Bench, there: Installation) -> None:
    """The registry has the certificate of another API."""
    with LocalCloud(publish=False) as other:
        bundle = other.issuer.certificate_bundle(bench.folder / "other.pem")
    guarded(bench, there, rootcertbundle=str(bundle))


def other_issuer(bench: Bench, there: Installation) -> None:
    """The registry waits for tokens of another issuer."""
    guarded(bench, there, issuer="somebody.else")


def other_name(bench: Bench, there: Installation) -> None:
    """A token for one image is used for another one."""
    url = f"http://{bench.front(there.url).host}"
    ask(f"{url}/v2/v2/{'0' * 32}/manifests/latest", get_token(url, STORED))


def long_token(bench: Bench, there: Installation) -> None:
    """What stands before the registry takes short headers alone."""
    sizes = "client_header_buffer_size 512; large_client_header_buffers 2 512;"
    place = f"proxy_set_header Host {there.cloud.registry_host};"
    location = f"location / {{ proxy_pass {there.url}; {place} }}"
    bench.front(bench.nginx(f"{sizes} {location}"))
    url = f"http://{bench.proxy.host if bench.proxy else ''}"
    ask(f"{url}/v2/{STORED}/manifests/latest", get_token(url, STORED))


def under_its_own_names(path: str, *words: str, login: str | None = None) -> Make:
    """Return what asks a registry that has nothing of balena, and may want a login."""

    def make(bench: Bench, _: Installation) -> None:
        config = htpasswd(bench.folder, USER, PASSWORD) if login else {}
        about = Description(OWN_NAME, OWN_NAME, "1.0", "main", ("amd64",), is_oci=True)
        seed([build_image(about)], bench.folder)
        url = bench.docker_registry(config)
        # Without what is there for the API.
        options = ("--set", "balena_registry_timeout=5")
        proxy = bench.front(url, options=options, NAMES="registry")
        known = ("-u", login) if login else ()
        curl(*known, *words, f"http://{proxy.host}{path}")

    return make


def plain_realm(bench: Bench, there: Installation) -> None:
    """Nginx ends TLS, says so, and is not believed."""
    proxy = bench.front(there.url)
    authority = Authority("tests")
    own = authority.server_file(bench.folder, "localhost", "127.0.0.1")
    headers = "proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto"
    place = f"proxy_pass http://{proxy.host}; {headers} $scheme;"
    url = bench.nginx(f"location / {{ {place} }}", tls=own)
    curl("-k", f"{url.replace('http:', 'https:')}/v2/{ALIAS}/manifests/latest")


def impatient(bench: Bench, there: Installation) -> None:
    """The API thinks for longer than a client waits."""
    cable = bench.enter(Relay(port_of(there.cloud.api_url)))
    environment = {"API_URL": f"http://127.0.0.1:{cable.port}", "LOG_FORMAT": "json"}
    arguments = ("-w", str(bench.flows))
    proxy = Proxy(there.url, environment=environment, arguments=arguments)
    bench.proxy = bench.enter(proxy)
    bench.started()
    cable.fail(Cut(Failure.HANG))
    query = f"scope=repository:{ALIAS}:pull"
    curl("--max-time", "6", f"http://{proxy.host}/auth/v1/token?{query}")


class Clock:
    """The clocks of registry and API, each ahead by so many seconds."""

    def __init__(self) -> None:
        self.registry = self.api = 0.0
        self._here = threading.local()

    def __call__(self) -> float:
        """Return what it is for whoever asks."""
        is_api = getattr(self._here, "is_api", False)
        return time.time() + (self.api if is_api else self.registry)

    def tell(self, server: Server, *, is_api: bool) -> None:
        """Let a server go by its clock, and say so in each answer."""
        application = server.application

        def answer(request: Request) -> Response:
            self._here.is_api = is_api
            said = application(request)
            date = ("Date", formatdate(self(), usegmt=True))
            return Response(said.status, (*said.headers, date), said.body)

        server.application = answer


def at_times(
    *, registry: float = 0, api: float = 0, then: tuple[float, float] | None = None
) -> Make:
    """Return what pulls where clocks are ahead; from the token on they are others."""

    def make(bench: Bench, _: Installation) -> None:
        clock = Clock()
        cloud = bench.enter(LocalCloud(clock=clock))
        assert cloud.registry
        clock.tell(cloud.registry, is_api=False)
        clock.tell(cloud.api, is_api=True)
        clock.registry, clock.api = registry, api
        url = f"http://{bench.front(cloud.registry_url).host}"
        token = get_token(url, ALIAS)
        if then:
            clock.registry, clock.api = then
            get_token(url, ALIAS)  # So that the proxy sees the clock of the API.
        ask(f"{url}/v2/{ALIAS}/manifests/latest", token)

    return make


def elsewhere(bench: Bench, _: Installation) -> None:
    """The API's images are in another registry than the one that is fronted."""
    cloud = bench.enter(LocalCloud())
    for image in cloud.database.rows("image"):
        place = image["is_stored_at__image_location"].partition("/")[2]
        there = {"is_stored_at__image_location": f"registry.elsewhere.example/{place}"}
        cloud.database.change("image", image["id"], there)
    bench.front(cloud.registry_url)
    pull(bench, ALIAS)


FAULTS: dict[str, Row] = {
    "no login": Row(
        pulling(PRIVATE),
        Cause.LOGIN,
        ["did not log in", "the API 127.0.0.1:", "no application balenablocks/private"],
        "a balena API key as password",
    ),
    "key of another account": Row(
        pulling(PRIVATE, "bob"),
        Cause.RIGHTS,
        ["takes the login, and shows it no application balenablocks/private-block"],
        "check the name",
    ),
    "wrong key": Row(
        pulling(PRIVATE, KEY),
        Cause.LOGIN,
        ["the API 127.0.0.1:", "does not know the key", "it looks like one"],
        "log in anew",
    ),
    "password of an account": Row(
        pulling(PRIVATE, PASSWORD),
        Cause.LOGIN,
        ["does not take the login", "does not look like a balena API key"],
        "make an API key",
    ),
    "bad name": Row(
        pulling("balenablocks/browser-aarch64/2.3.8/main/more"),
        Cause.NAME,
        ["balenablocks/browser-aarch64/2.3.8/main/more"],
        "<org>/<app>/<version>",
    ),
    "no such release": Row(
        pulling("balenablocks/browser-aarch64/9.9.9"),
        Cause.RELEASE,
        ["has no release 9.9.9 that can be pulled; its newest are"],
        "registry-proxy resolve --all",
    ),
    "failed build": Row(
        releasing("failed", "1.4.0", status="failed"),
        Cause.RELEASE,
        ["no release 1.4.0", "1.4.0 is there, and its build has the status failed"],
        "build it anew with balena push",
    ),
    "build under way": Row(
        releasing("under-way", "1.4", status="running"),
        Cause.RELEASE,
        ["no release 1.4", "1.4.0 is there, and its build has the status running"],
        "wait for the end of the build",
    ),
    "failed image": Row(
        releasing("unbuilt", "1.4.0", image_status="failed"),
        Cause.RELEASE,
        ["1.4.0 is there, and its build has the status failed"],
        "build it anew with balena push",
    ),
    "draft": Row(
        releasing("draft", "1.4.0", is_draft=True),
        Cause.RELEASE,
        ["no release 1.4.0", "is a draft, which is pulled as 1.4.0-"],
        "balena release finalize",
    ),
    "invalidated release": Row(
        releasing("invalidated", "1", is_invalidated=True),
        Cause.RELEASE,
        ["1.4.0 is invalidated, and is pulled as 1.4.0_rev0 alone"],
        "balena release validate",
    ),
    "several images": Row(
        releasing("several", "1.4.0", services=("main", "helper")),
        Cause.RELEASE,
        ["release 1.4.0 of balenablocks/several has several images: helper, main"],
        "add the service to the name",
    ),
    "image elsewhere": Row(
        elsewhere,
        Cause.RELEASE,
        [f"{ALIAS} is stored in another registry than the one behind this proxy"],
        "set REGISTRY_URL",
    ),
    "manifest of another type": Row(
        asking(f"/v2/{ALIAS}/manifests/latest", "-H", f"Accept: {OLD_TYPE}"),
        Cause.MANIFEST,
        ["the registry localhost:", "has an OCI manifest there", OLD_TYPE],
        "application/vnd.oci.image.manifest.v1+json",
    ),
    "lost manifest": Row(
        damaged("manifest"),
        Cause.MANIFEST,
        [
            "the image of balenablocks/lost-manifest/1.0.0 is stored at v2/",
            "none there",
        ],
        "push the release anew",
    ),
    "lost blob": Row(
        damaged("blob"),
        Cause.STORAGE,
        ["the registry localhost:", "has no blob sha256:", "lost-blob/1.0.0 is stored"],
        "push the image anew",
    ),
    "absent digest": Row(
        asking(f"/v2/{ALIAS}/manifests/sha256:{'ab' * 32}"),
        Cause.MANIFEST,
        ["has no manifest sha256:abababababab where the image of"],
        "check the digest",
    ),
    "mirror of another registry": Row(
        mirroring,
        Cause.CLIENT,
        ["wants this image of docker.io", "hosts.toml", "behind this proxy is localh"],
        "certs.d/docker.io/hosts.toml",
    ),
    "push": Row(
        pushing,
        Cause.CLIENT,
        ["PUT", "is not possible: through this proxy releases are pulled"],
        "balena push",
    ),
    "docker search": Row(
        asking("/v1/search?q=alpine&n=25"),
        Cause.CLIENT,
        ["docker searches at /v1/", "a registry of /v2/ alone"],
        "there is no search",
    ),
    "catalog": Row(
        asking("/v2/_catalog"),
        Cause.CLIENT,
        ["there is no catalog"],
        "registry-proxy resolve --all",
    ),
    "registry of its own names: password": Row(
        under_its_own_names(f"/v2/{OWN_NAME}/manifests/latest", login=f"{USER}:{KEY}"),
        Cause.LOGIN,
        ["the registry localhost:", "does not take the user name and password"],
        "docker login",
    ),
    "registry of its own names: tag": Row(
        under_its_own_names(f"/v2/{OWN_NAME}/manifests/9.9"),
        Cause.MANIFEST,
        ["the registry localhost:", f"has no manifest 9.9 of {OWN_NAME}"],
        "check the name, and the tag or digest",
    ),
    "registry of its own names: blob": Row(
        under_its_own_names(f"/v2/{OWN_NAME}/blobs/sha256:{'ab' * 32}"),
        Cause.STORAGE,
        ["the registry localhost:", f"has no blob sha256:abababababab of {OWN_NAME}"],
        "push the image anew",
    ),
    "registry of its own names: push": Row(
        under_its_own_names(f"/v2/{OWN_NAME}/blobs/uploads/", "-X", "POST"),
        Cause.CLIENT,
        ["this proxy serves pulls only", "push to the registry localhost:"],
        "let this client only pull",
    ),
    "registry of its own names: name": Row(
        under_its_own_names("/v2/UPPER/manifests/latest"),
        Cause.NAME,
        ["UPPER"],
        "check the name",
    ),
    "token for another service": Row(
        other_service,
        Cause.REALM,
        ["refuses the token: the token is for the service localhost", "other.example"],
        "the same name of the service",
    ),
    "token of another key": Row(
        other_key,
        Cause.REALM,
        [
            "the registry localhost:",
            "it does not take the token, which was issued by the issuer ",
        ],
        "auth.token.rootcertbundle",
    ),
    "token of another issuer": Row(
        other_issuer,
        Cause.REALM,
        ["it does not take the token, which was issued by the issuer "],
        "auth.token.rootcertbundle",
    ),
    "token for another name": Row(
        other_name,
        Cause.RIGHTS,
        ["no right to pull v2/0000..., only v2/567e..."],
        "check the name",
    ),
    "token that is too long": Row(
        long_token,
        Cause.BETWEEN,
        ["takes no header as long as that of the token, of ", " characters"],
        "large_client_header_buffers",
    ),
    "realm without TLS": Row(
        plain_realm,
        Cause.REALM,
        ["came by https", "is sent to http://localhost:", "/auth/v1/token"],
        "TRUST_PROXY=true",
    ),
    "client without patience": Row(
        impatient,
        Cause.CLIENT,
        ["gave up after 6 seconds", "the API 127.0.0.1:", "did not answer"],
        "why the API is slow",
    ),
    "clock of the API ahead": Row(
        at_times(api=2 * HOURS),
        Cause.CLOCK,
        ["the clock of the API is 2 h ahead of", "the token is valid from"],
        "synchronise the clock of the API (NTP)",
    ),
    "clock of the API behind": Row(
        at_times(api=-5 * HOURS),
        Cause.CLOCK,
        ["the clock of the API is 5 h behind", "the token is valid from"],
        "synchronise the clock of the API (NTP)",
    ),
    "clock of the registry ahead": Row(
        at_times(registry=5 * HOURS),
        Cause.CLOCK,
        ["the clock of the registry is 5 h ahead", "the token is valid from"],
        "synchronise the clock of the registry (NTP)",
    ),
    "clock of the registry behind": Row(
        at_times(registry=-1 * HOURS),
        Cause.CLOCK,
        ["the clock of the registry is 1 h behind", "the token is valid from"],
        "synchronise the clock of the registry (NTP)",
    ),
    "token whose time is over": Row(
        at_times(registry=-5 * HOURS, api=-5 * HOURS, then=(0, 0)),
        Cause.CLIENT,
        ["refuses the token: its time was over at 20", "and it is 20"],
        "nothing, if the client gets another one",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault(name: str, bench: Bench, installation: Installation) -> None:
    """It is named where somebody looks, with what to do, and without a secret."""
    row = FAULTS[name]
    make = partial(_make, row.make, installation)
    check(Fault(name, make, row.fault, row.sentence, row.advice), bench)
    assert bench.proxy
    for secret in (KEY, PASSWORD, *installation.cloud.keys.values()):
        assert secret not in bench.proxy.log


def _make(make: Make, installation: Installation, bench: Bench) -> None:
    make(bench, installation)


def test_token_for_another_name_that_is_not_replaced(
    bench: Bench, installation: Installation
) -> None:
    """A client that was given its token by hand does not get another one."""
    url = f"http://{bench.front(installation.url).host}"
    token = get_token(url, ALIAS)
    curl("-H", f"Authorization: Bearer {token}", f"{url}/v2/{BIG}/manifests/latest")
    wait_until(lambda: any(map(challenged, bench.saved())), "the challenge is saved")
    (flow,) = filter(challenged, bench.saved())
    record = Record.read(flow)
    assert record
    assert record.finding is None
    assert record.code == "UNAUTHORIZED"
    found = never_came_back("", 30, user_agent="docker/28", is_refused=True)
    assert found
    assert found.cause is Cause.CLIENT


def challenged(flow: http.HTTPFlow) -> bool:
    """Return whether a client was told to get a token, and did not come for one."""
    record = Record.read(flow)
    return record is not None and record.outcome is Outcome.CHALLENGED


def test_realm_that_the_client_does_not_reach(
    bench: Bench, installation: Installation
) -> None:
    """A client that does not come back is noticed by that, after a while."""
    url = "http://127.0.0.1:1"
    bench.front(installation.url, PUBLIC_URL=url)
    pull(bench, ALIAS)
    wait_until(lambda: any(map(challenged, bench.saved())), "the challenge is saved")
    assert not any(TOKEN_PATH in flow.request.path for flow in bench.saved())
    *_, last = filter(challenged, bench.saved())
    assert last.response
    challenge = parse_challenge(last.response.headers["www-authenticate"])
    assert challenge
    agent = last.request.headers["user-agent"]
    assert never_came_back(challenge.realm, 5, user_agent=agent) is None
    found = never_came_back(challenge.realm, 30, user_agent=agent)
    assert isinstance(found, Finding)
    assert found.cause is Cause.REALM
    assert f"was sent to {url}/auth/v1/token" in found.sentence
    assert "PUBLIC_URL" in found.advice
