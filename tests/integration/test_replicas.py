"""Replicas behind HAProxy: which of them answers, or ends, is no matter to a client."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import pytest
import requests

from localcloud.relay import Failure, Fault
from localcloud.server import Response
from pull.client import Client as SmallClient
from pull.reference import parse_reference
from tests.client.client import Docker, Skopeo
from tests.integration.balancer import Balancer, Replica, balancing
from tests.integration.fault import ALIAS, IN_BLOB, LOCATION, MANIFEST
from tests.integration.registry import Installation
from tests.integration.session import TIMEOUT, get_token, logged_in, plain_session
from tests.integration.tool import ToolError, wait_until

NOTICE_SECONDS = 3
REQUESTS = 30
PATH = f"/v2/{ALIAS}/manifests/latest"
PART = 250_000
"""So many bytes of a blob have passed, when it stalls."""
SERVER_DIED = "SD--"
"""How the log says that a transfer broke off."""
NOBODY = "<NOSRV>"
"""What the log has where HAProxy answers: to a client that tries TLS first, too."""
NO_REPLICA = "no registry proxy is running at the moment"


@dataclass(frozen=True, slots=True)
class Balanced:
    """What a pull through HAProxy goes through."""

    installation: Installation
    replicas: Sequence[Replica]
    balancer: Balancer

    @property
    def digest(self) -> str:
        """What a client has after it pulled `fault.ALIAS`."""
        return self.installation.digest(LOCATION)


@pytest.fixture(scope="module")
def running(
    installation: Installation, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Balanced]:
    """Three replicas behind HAProxy."""
    with ExitStack() as stack:
        replicas = [
            stack.enter_context(Replica(f"replica{number}", installation))
            for number in (1, 2, 3)
        ]
        folder = tmp_path_factory.mktemp("balanced")
        balancer = stack.enter_context(balancing(folder, replicas))
        yield Balanced(installation, replicas, balancer)


@pytest.fixture
def whole(running: Balanced) -> Iterator[Balanced]:
    """The same, and all of them serve again after the test."""
    yield running
    for replica in running.replicas:
        replica.registry.mend()
        if replica.proxy.process.poll() is not None:
            replica.restart()
    wait_until(lambda: running.balancer.is_up(*running.replicas), "all replicas are up")


def manifest(url: str, token: str) -> requests.Response:
    """Return the answer to a manifest request on a connection of its own."""
    with plain_session() as session:
        session.headers["Accept"] = MANIFEST
        session.headers["Authorization"] = f"Bearer {token}"
        return session.get(url + PATH, timeout=TIMEOUT)


def test_pull_takes_all_replicas(whole: Balanced, skopeo: Skopeo) -> None:
    """A token that one replica issued serves at those that did not (section 5)."""
    before = len(whole.balancer.entries)
    assert skopeo.pull(f"{whole.balancer.host}/{ALIAS}") == whole.digest
    seen = [e for e in whole.balancer.entries[before:] if e["replica"] != NOBODY]
    (issued,) = (e for e in seen if e["path"] == "/auth/v1/token")
    users = {e["replica"] for e in seen if e["status"] == "200" and ALIAS in e["path"]}
    assert users - {issued["replica"]}
    assert {entry["replica"] for entry in seen} == {r.name for r in whole.replicas}
    # The one that issued it has the request in its own log, by the same id.
    logs = {replica.name: replica.proxy.log for replica in whole.replicas}
    knowing = [name for name, log in logs.items() if issued["id"][:8] in log]
    assert knowing == [issued["replica"]]


def test_replica_is_killed_in_mid_pull(whole: Balanced, docker: Docker) -> None:
    """Docker tries again, and has the right image by way of the other replicas."""
    before = len(whole.balancer.entries)

    def has_part(replica: Replica) -> bool:
        return whole.balancer.is_sending(replica, PART)

    for replica in whole.replicas:
        replica.registry.fail(Fault(Failure.STALL, IN_BLOB, 300_000))
    with ThreadPoolExecutor(1) as background:
        pulled = background.submit(docker.pull, f"{whole.balancer.host}/{ALIAS}")
        wait_until(lambda: any(map(has_part, whole.replicas)), "a blob is on its way")
        victim = next(filter(has_part, whole.replicas))
        victim.kill()
        for replica in whole.replicas:
            replica.registry.mend()
        assert pulled.result() == whole.digest
    seen = whole.balancer.entries[before:]
    broken = {entry["replica"] for entry in seen if entry["end"] == SERVER_DIED}
    assert broken == {victim.name}


def test_replica_is_killed_before_it_answers(whole: Balanced) -> None:
    """Another one is asked in its place, and the client does not notice."""
    token = get_token(whole.balancer.url, ALIAS)
    for replica in whole.replicas:
        replica.registry.drop()
        replica.registry.fail(Fault(Failure.HANG))
    before = {replica: replica.registry.accepted for replica in whole.replicas}

    def is_waiting(replica: Replica) -> bool:
        return replica.registry.accepted > before[replica]

    with ThreadPoolExecutor(1) as background:
        asked = background.submit(manifest, whole.balancer.url, token)
        wait_until(lambda: any(map(is_waiting, whole.replicas)), "one has the request")
        victim = next(filter(is_waiting, whole.replicas))
        for replica in whole.replicas:
            if replica is not victim:
                replica.registry.mend()
        victim.kill()
        answer = asked.result()
    assert answer.headers["Docker-Content-Digest"] == whole.digest
    assert whole.balancer.entries[-1]["retries"] == "+1"


def test_replicas_die_under_kept_connections(whole: Balanced) -> None:
    """Where two of three are gone, not one request fails, whatever its method."""
    url = whole.balancer.url
    with logged_in(url, ALIAS) as session:
        session.headers["Accept"] = MANIFEST
        for _ in range(REQUESTS):
            session.get(url + PATH, timeout=TIMEOUT)
        for replica in whole.replicas[:2]:
            replica.kill()
        form = {
            "grant_type": "password",
            "service": "registry",
            "username": "u",
            "password": whole.installation.cloud.keys["carol"],
            "scope": f"repository:{ALIAS}:pull",
        }
        for _ in range(REQUESTS):
            issued = session.post(f"{url}/auth/v1/token", form, timeout=TIMEOUT)
            got = session.get(url + PATH, timeout=TIMEOUT)
            assert (issued.status_code, got.status_code) == (200, 200)


def repeat(pull: Callable[[], object], over: Event) -> int:
    """Pull again and again until it is over, and return how often."""
    count = 0
    while not over.is_set():
        pull()
        count += 1
    return count


def restart_in_mid_transfer(whole: Balanced, replica: Replica) -> None:
    """Restart the replica while it sends a blob, as an orchestrator does it."""
    balancer = whole.balancer
    replica.registry.fail(Fault(Failure.STALL, IN_BLOB, 300_000, is_once=True))
    wait_until(lambda: balancer.is_sending(replica, PART), "a blob is on its way")
    asked = time.monotonic()
    replica.ask_to_end()
    wait_until(lambda: not balancer.is_up(replica), "it is out")
    assert time.monotonic() - asked < NOTICE_SECONDS
    replica.registry.mend()
    assert "no request was cut off" in replica.wait()
    replica.restart()
    wait_until(lambda: balancer.is_up(replica), "it is back")


def test_rolling_restart(whole: Balanced, skopeo: Skopeo) -> None:
    """Replicas are restarted one after another, and no pull fails or is cut off."""
    pulls: tuple[Callable[[], object], ...] = (
        lambda: skopeo.pull(f"{whole.balancer.host}/{ALIAS}"),
        lambda: SmallClient(lambda _: None).pull(
            parse_reference(f"{whole.balancer.url}/{ALIAS}")
        ),
    )
    over = Event()
    with ThreadPoolExecutor(len(pulls)) as background:
        pulled = [background.submit(repeat, pull, over) for pull in pulls]
        try:
            for replica in whole.replicas:
                restart_in_mid_transfer(whole, replica)
        finally:
            over.set()
    assert sum(each.result() for each in pulled) > len(whole.replicas)


def test_no_replica(whole: Balanced, docker: Docker) -> None:
    """HAProxy's own 503 reads like the proxy's errors, and is over when one is back."""
    for replica in whole.replicas:
        replica.kill()
    wait_until(lambda: not any(map(whole.balancer.is_up, whole.replicas)), "all out")
    for method in ("GET", "HEAD"):
        with plain_session() as session:
            answer = session.request(method, whole.balancer.url + PATH, timeout=TIMEOUT)
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert (NO_REPLICA in answer.text) == (method == "GET")
    with pytest.raises(ToolError, match="503 Service Unavailable"):
        docker.pull(f"{whole.balancer.host}/{ALIAS}")
    replica = whole.replicas[0]
    replica.restart()
    wait_until(lambda: whole.balancer.is_up(replica), "one is back")
    assert docker.pull(f"{whole.balancer.host}/{ALIAS}") == whole.digest


def test_failure_of_the_api_is_told_by_the_proxy(whole: Balanced) -> None:
    """The client reads the proxy's words, and the API is not asked once more for it."""
    cloud = whole.installation.cloud
    cloud.api.interpose = lambda _: Response(500)
    cloud.requests.clear()
    try:
        with pytest.raises(requests.HTTPError) as failed:
            get_token(whole.balancer.url, "balenablocks/pinned-app")
    finally:
        cloud.api.interpose = None
    assert "balena API" in failed.value.response.text
    assert len(cloud.requests) == 1
    assert whole.balancer.entries[-1]["retries"] == "0"


def test_replica_without_registry_is_alive(
    installation: Installation, tmp_path: Path
) -> None:
    """What all replicas miss is no reason to let none of them answer."""
    with Replica("replica1", installation) as replica:
        replica.registry.refuse()
        replica.proxy.__exit__(None, None, None)
        replica.start()  # And so it never heard of the registry.
        with balancing(tmp_path, [replica]) as balancer, plain_session() as session:
            wait_until(lambda: balancer.is_checked(replica), "it passes the check")
            assert session.get(f"{replica.url}/ready").status_code == 503
            answer = session.get(f"{balancer.url}/v2/", timeout=TIMEOUT)
    assert answer.status_code == 502
    assert "the registry behind this proxy" in answer.text


def test_forwarding_headers_are_those_of_haproxy(whole: Balanced) -> None:
    """What a client says of itself does not count; the realm is HAProxy's URL (T2)."""
    headers = {
        "Forwarded": "host=evil.example;proto=https",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "https",
        "X-Request-ID": "mine",
    }
    with plain_session() as session:
        url = f"{whole.balancer.url}/v2/"
        answer = session.get(url, headers=headers, timeout=TIMEOUT)
    realm = f'realm="{whole.balancer.url}/auth/v1/token"'
    assert realm in answer.headers["WWW-Authenticate"]
    assert answer.headers["X-Request-ID"] == whole.balancer.entries[-1]["id"]


def test_address_is_held_to_its_share(whole: Balanced, tmp_path: Path) -> None:
    """Beyond it requests get 429 in words, and connections are closed (T8)."""
    with (
        balancing(tmp_path, whole.replicas, REQUESTS_MAX="9") as balancer,
        plain_session() as session,
    ):
        answers = [session.get(f"{balancer.url}/ping") for _ in range(11)]
    assert [answers[i].status_code for i in (0, -1)] == [200, 429]
    assert answers[-1].json()["errors"][0]["code"] == "TOOMANYREQUESTS"
    for limit in ("CONNECTIONS_MAX", "NEW_CONNECTIONS_MAX"):
        with (
            balancing(tmp_path, whole.replicas, **{limit: "0"}) as balancer,
            plain_session() as session,
            pytest.raises(requests.ConnectionError),
        ):
            session.get(f"{balancer.url}/ping")


def test_client_takes_no_replica_out(whole: Balanced) -> None:
    """Whatever heads and bodies a client sends, all replicas stay, and answer (T8)."""
    before = len(whole.balancer.entries)
    with plain_session() as session:
        for _ in range(6):
            headers = {"X-Long": "x" * 90_000}
            answer = session.get(f"{whole.balancer.url}/v2/", headers=headers)
            assert answer.status_code == 400
        for length in (16_385, 90_000):
            answer = session.post(f"{whole.balancer.url}/v2/", data=bytes(length))
            assert answer.status_code == 413
            assert (
                "the body has more than 16384 bytes"
                in answer.json()["errors"][0]["message"]
            )
        answer = session.patch(f"{whole.balancer.url}/v2/", data=iter([b"a", b"b"]))
        assert answer.status_code == 411
        # The longest head that passes is one that a replica takes.
        lines = {f"X-{number}": "x" * 9500 for number in range(3)}
        answer = session.get(f"{whole.balancer.url}/v2/", headers=lines)
        assert answer.status_code == 401
    assert whole.balancer.is_up(*whole.replicas)
    seen = whole.balancer.entries[before:]
    assert {entry["retries"] for entry in seen} == {"0"}


def test_log_has_no_secrets(whole: Balanced) -> None:
    """Keys and tokens stay out of HAProxy's log, in whatever request they came."""
    key = whole.installation.cloud.keys["carol"]
    name = "balenablocks/private-block/1.0.0"
    token = get_token(whole.balancer.url, name, key=key)
    with plain_session() as session:
        session.headers["Authorization"] = f"Bearer {token}"
        url = f"{whole.balancer.url}/v2/{name}/manifests/latest?account={key}"
        assert session.get(url, timeout=TIMEOUT).status_code == 200
    log = whole.balancer.log
    assert name in log
    assert key not in log
    assert token not in log
    assert token.partition(".")[0] not in log
