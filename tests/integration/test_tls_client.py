"""A client that verifies TLS, in each way in which the proxy can have it.

What each of today's clients needs to trust mitmproxy's authority is in `tests/client`.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.authority import Authority
from tests.client.client import Skopeo
from tests.client.machine import ADDRESS, Machine
from tests.integration.registry import Installation, installed
from tests.integration.tool import ToolError
from tests.integration.way import (
    SAVE,
    USER,
    Way,
    behind_nginx,
    follow,
    signed_by_mitmproxy,
    with_own_certificate,
)

PRIVATE = "balenablocks/private-block/1.0.0"
LOCATION = "875ff9869a2373a5d97612c498e0bcf1"
UNTRUSTED = "x509: certificate signed by unknown authority"
AUTHORITY = Authority("private authority")
SIGNED, OWN, NGINX = signed_by_mitmproxy, with_own_certificate, behind_nginx

type Make = Callable[[str, Path], AbstractContextManager[Way]]
WAYS: dict[str, Make] = {
    "mitmproxy's authority": SIGNED,
    # Who calls the proxy by its address names none, and is shown one for it.
    "an address": lambda url, folder: SIGNED(url, folder, ADDRESS),
    "TLS_CERT and TLS_KEY": lambda url, folder: OWN(
        url, AUTHORITY, folder, TLS_CERT="{chain}", TLS_KEY="{key}"
    ),
    "nginx and TRUST_PROXY": lambda url, folder: NGINX(
        url, AUTHORITY, folder, TRUST_PROXY="true"
    ),
    "nginx and PUBLIC_URL": lambda url, folder: NGINX(
        url, AUTHORITY, folder, PUBLIC_URL="https://{host}"
    ),
}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine on which the proxy has a name, and clients can be told to trust it."""
    with Machine(tmp_path_factory.mktemp("machine")) as made:
        yield made


@pytest.fixture(scope="module")
def registry(
    machine: Machine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """The real registry there."""
    with machine.hosting(installed(tmp_path_factory.mktemp("registry"))) as made:
        yield made


@pytest.mark.parametrize("way", WAYS)
def test_client_pulls_once_it_trusts(
    machine: Machine, registry: Installation, skopeo: Skopeo, tmp_path: Path, way: str
) -> None:
    """It refuses an unknown authority, and pulls after the commands that it is told."""
    skopeo.transport = ()
    key = registry.cloud.keys["carol"]
    with machine.hosting(WAYS[way](registry.url, tmp_path)) as served:
        reference = f"{served.host}/{PRIVATE}"
        with pytest.raises(ToolError, match=UNTRUSTED):
            machine.call(skopeo.pull, reference, key)
        follow(machine, served, skopeo.folder, SAVE, USER)
        pulled = machine.call(skopeo.pull, reference, key)
    assert pulled == registry.digest(LOCATION)
