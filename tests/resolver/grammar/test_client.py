"""What a client does is told by the name that it was seen to send."""

import pytest

from resolver.grammar.client import Client

SEEN = {
    "docker/28 kernel/6.18 UpstreamClient(Docker-Client/28.5.2 \\(linux\\))": "",
    "docker/28 containerd-client/2.1.9+unknown storage-driver/overlayfs"
    " UpstreamClient(Docker-Client/28.5.2 \\(linux\\))": "scopes head hides-head",
    "Docker-Client/28.5.2 (linux)": "hides-head hides-get",
    "buildkit/v0.0-dev": "scopes head hides-head",
    "containerd/1.7.24~ds1": "scopes head hides-head",
    "oras/1.3.3": "scopes hides-head hides-get",
    "containers/5.36 (github.com/containers/image)": "scopes",
    "crane/0.20 go-containerregistry/0.20": "scopes",
    "curl/8": "scopes",
    "": "scopes",
}
"""Takes scopes, asks with HEAD, hides a 404 for HEAD, and for GET."""


@pytest.mark.parametrize(("user_agent", "habits"), SEEN.items(), ids=SEEN)
def test_client(user_agent: str, habits: str) -> None:
    """Who is not known is taken for one that does as the specifications say."""
    client = Client(user_agent)
    found = {
        "scopes": client.takes_scopes,
        "head": client.asks_with_head,
        "hides-head": client.hides_missing("HEAD"),
        "hides-get": client.hides_missing("GET"),
    }
    assert [name for name, does in found.items() if does] == habits.split()
