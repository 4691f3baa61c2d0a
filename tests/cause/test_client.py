"""What is said of clients, and what is not."""

from dataclasses import replace

import pytest

from cause.client import RETURN_SECONDS, never_came_back
from cause.evidence import Evidence
from cause.finding import Cause
from cause.judge import judge

REALM = "http://proxy.example/auth/v1/token"
AGENT = "containers/5.0 (github.com/containers/image)"
REFUSED = Evidence(
    None,
    kind="manifest",
    name="library/alpine",
    path="/v2/library/alpine/manifests/latest",
    status=403,
    code="DENIED",
    registry="r.example",
    namespace="docker.io",
)
"""What a mirror that has nothing of that answers."""
UNSERVED = Evidence(None, kind="other", status=404, code="UNSUPPORTED", message="no")


def test_mirror() -> None:
    """A registry that is known to be another one is named, and its file."""
    said = judge(REFUSED)
    assert said
    assert said.cause is Cause.CLIENT
    assert "wants this image of docker.io" in said.sentence
    assert "certs.d/docker.io/hosts.toml" in said.advice


@pytest.mark.parametrize(
    "seen",
    [
        replace(REFUSED, namespace="mirrored.example"),
        replace(REFUSED, namespace=""),
        replace(REFUSED, has_own_names=True),
        replace(REFUSED, registry="docker.io"),
        replace(REFUSED, registry="registry-1.docker.io"),
        replace(REFUSED, registry="registry-1.docker.io", namespace="index.docker.io"),
        replace(REFUSED, registry="eu.gcr.io:443", namespace="gcr.io"),
        replace(REFUSED, status=401, realm=REALM, code=""),
    ],
    ids=[
        *(
            "made up",
            "none",
            "own names",
            "fronted",
            "Docker Hub",
            "another name of it",
        ),
        *("of one domain", "challenge"),
    ],
)
def test_mirror_that_is_right(seen: Evidence) -> None:
    """A name that somebody made up for this proxy is a good one."""
    said = judge(seen)
    assert said is None or said.cause is not Cause.CLIENT


@pytest.mark.parametrize(
    ("seen", "step"),
    [
        (
            replace(UNSERVED, method="PUT", path="/v2/org/app/manifests/x", status=405),
            "push to balena with balena push",
        ),
        (replace(UNSERVED, path="/v1/search"), "there is no search"),
        (replace(UNSERVED, path="/v2/_catalog"), "lists the releases of one"),
    ],
    ids=["push", "v1", "catalog"],
)
def test_unserved(seen: Evidence, step: str) -> None:
    """What clients of registries ask for, and is not there, has a way around."""
    said = judge(seen)
    assert said
    assert said.cause is Cause.CLIENT
    assert said.sentence
    assert step in said.advice


@pytest.mark.parametrize("path", ["/favicon.ico", "/v2x", "/", "/v1/_ping"])
def test_path_of_nobody(path: str) -> None:
    """What no client asks for is no fault of one, nor a ping after one that failed."""
    assert judge(replace(UNSERVED, path=path)) is None


def test_client_that_does_not_come_back() -> None:
    """It is told where the client was sent, and that it may not get there."""
    said = never_came_back(REALM, RETURN_SECONDS, user_agent=AGENT)
    assert said
    assert said.cause is Cause.REALM
    assert f"sent to {REALM} for a token, and did not come for one in 30 s" in (
        said.sentence
    )
    assert never_came_back(REALM, 60, user_agent="registry-proxy/0.2")
    other = never_came_back(REALM, 60, user_agent=AGENT, is_refused=True)
    assert other
    assert other.cause is Cause.CLIENT


@pytest.mark.parametrize(
    ("seconds", "agent"),
    [
        (RETURN_SECONDS - 1, AGENT),
        *(
            (60, agent)
            for agent in ("curl/8.0", "kube-probe/1.30", "", "balena-watch/1")
        ),
        (60, "Uptime-Kuma (docker/1)"),
    ],
)
def test_monitor_that_does_not_come_back(seconds: float, agent: str) -> None:
    """Who only sees whether the proxy is there wants no token; a client may be slow."""
    assert never_came_back(REALM, seconds, user_agent=agent) is None


def test_method_of_nobody() -> None:
    """Who asks what is possible pushes nothing."""
    assert judge(replace(UNSERVED, method="OPTIONS", path="/v2/", status=405)) is None
