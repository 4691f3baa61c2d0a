"""What a client does is told by the name that it was seen to send."""

import pytest

from resolver.grammar.client import Client

CLASSIC = (
    "docker/28.5.2 go/go1.27.1 kernel/6.18 os/linux arch/amd64"
    " UpstreamClient(Docker-Client/28.5.2 \\(linux\\))"
)
STORE = (
    "docker/28.5.2 go/go1.27.1 kernel/6.18 os/linux arch/amd64"
    " containerd-client/2.1.9+unknown storage-driver/overlayfs"
    " UpstreamClient(Docker-Client/28.5.2 \\(linux\\))"
)
SEEN = {
    CLASSIC: (False, False, False, False),
    STORE: (True, True, True, False),
    "Docker-Client/28.5.2 (linux)": (False, False, True, True),
    "buildkit/v0.0-dev": (True, True, True, False),
    "containerd/1.7.24~ds1": (True, True, True, False),
    "oras/1.3.3": (True, False, True, True),
    "containers/5.36 (github.com/containers/image)": (True, False, False, False),
    "crane/0.20 go-containerregistry/0.20": (True, False, False, False),
    "curl/8": (True, False, False, False),
    "": (True, False, False, False),
}
"""Takes scopes, asks with HEAD, hides a 404 for HEAD, and for GET."""


@pytest.mark.parametrize(("user_agent", "does"), SEEN.items(), ids=SEEN)
def test_client(user_agent: str, does: tuple[bool, ...]) -> None:
    """Who is not known is taken for one that does as the specifications say."""
    client = Client(user_agent)
    hides = [client.hides_missing(method) for method in ("HEAD", "GET")]
    assert (client.takes_scopes, client.asks_with_head, *hides) == does
