"""What a person reads in the terminal where a pull is refused (design section 7)."""

import pytest

from demo.proxy import Proxy
from tests.integration.client import Client, Docker
from tests.integration.conftest import CLIENTS
from tests.integration.registry import Installation
from tests.integration.session import TIMEOUT, plain_session
from tests.integration.tool import ToolError

BROWSER = "balenablocks/browser-aarch64"
HIDDEN = "is private or does not exist: check its name, or log in with docker login"

REFUSALS = {
    f"{BROWSER}/9.9.9": "has no release 9.9.9 that can be pulled; its newest are"
    " 2.9.3, 2.9.2, 2.9.0, 2.3.8 (target), 2.3.7",
    f"{BROWSER}/3.0.0": "has no release 3.0.0 that can be pulled; its newest are",
    f"{BROWSER}/1.5.0": "has no release 1.5.0 that can be pulled; its newest are",
    "balenablocks/multi-app/1.0.0": "has several images: db, web; name one, as in"
    " balenablocks/multi-app/1.0.0/db",
    "balenablocks/multi-app/1.0.0/nope": "has no image service nope; it has db, web",
    "balenablocks/empty-app": "has no target release that can be pulled;"
    " it offers no version",
    "balenablocks/twins/abcdef0": "2 commits of balenablocks/twins begin with abcdef0:"
    " abcdef01 (1.0.0), abcdef09 (1.1.0); give more of the one that is meant",
    f"{BROWSER}/2.4": "has no release 2.4 that can be pulled; its newest are",
    "balenablocks/private-block": f"balenablocks/private-block {HIDDEN}",
    "balenablocks/private-block/1.0.0": f"balenablocks/private-block {HIDDEN}",
    "nobody/nothing": f"nobody/nothing {HIDDEN}",
    "alpine": "'alpine' does not name a release: use <org>/<app>",
    "a/b/c/d/e": "'a/b/c/d/e' does not name a release: use <org>/<app>",
}


# containerd shows its user nothing but the status of a HEAD.
@pytest.mark.parametrize(
    "client", [name for name in CLIENTS if name != "ctr"], indirect=True
)
@pytest.mark.parametrize(("name", "message"), REFUSALS.items(), ids=REFUSALS.keys())
def test_message_reaches_the_terminal(
    proxy: Proxy, client: Client, name: str, message: str
) -> None:
    """The client shows why there is no image, and what would have worked."""
    with pytest.raises(ToolError) as refused:
        client.pull(f"{proxy.host}/{name}")
    assert message in str(refused.value)


def test_private_and_absent_read_the_same(proxy: Proxy) -> None:
    """Nobody learns from a refusal whether an application exists (S11)."""
    bodies = set()
    for slug in ("balenablocks/private-block", "balenablocks/nothing-here1"):
        with plain_session() as session:
            url = f"http://{proxy.host}"
            token = session.get(
                f"{url}/auth/v1/token",
                params={"scope": f"repository:{slug}:pull"},
                timeout=TIMEOUT,
            ).json()["token"]
            answer = session.get(
                f"{url}/v2/{slug}/manifests/latest",
                headers={"Authorization": f"Bearer {token}"},
                timeout=TIMEOUT,
            )
        bodies.add((answer.status_code, answer.text.replace(slug, "SLUG")))
    assert len(bodies) == 1


def test_wrong_key_is_said(
    installation: Installation, proxy: Proxy, client: Client
) -> None:
    """A key that the API does not know is refused, not taken for nobody's."""
    before = len(installation.cloud.requests)
    with pytest.raises(ToolError, match=r"does not accept these|401|authoriz"):
        client.pull(f"{proxy.host}/{BROWSER}/2.3.8", "no-such-key")
    assert len(installation.cloud.requests) > before


def test_push_is_refused(proxy: Proxy, docker: Docker) -> None:
    """A push ends with a message that says how releases are made."""
    docker.pull(f"{proxy.host}/{BROWSER}/2.3.8")
    with pytest.raises(ToolError, match="pulled, not pushed or deleted"):
        docker.push(f"{proxy.host}/{BROWSER}/2.3.8")
    with plain_session() as session:
        answer = session.post(
            f"http://{proxy.host}/v2/{BROWSER}/blobs/uploads/", timeout=TIMEOUT
        )
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, HEAD"
    assert "balena push" in answer.json()["errors"][0]["message"]
