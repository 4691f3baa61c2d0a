"""The servers that the clients pull from, and these clients."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.authority import Authority
from tests.client.client import Client, Docker
from tests.client.front import FRONTS, Front, Ground
from tests.client.machine import Machine
from tests.client.site import Site
from tests.integration.registry import Installation, add_many, add_twins, installed


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine for all of them, on which the proxy has a name."""
    with Machine(tmp_path_factory.mktemp("machine")) as running:
        yield running


@pytest.fixture(scope="session")
def authority() -> Authority:
    """An authority that all clients trust."""
    return Authority("trusted authority")


@pytest.fixture(scope="session")
def installation(
    machine: Machine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """The real registry, with localcloud's API."""
    with machine.hosting(installed(tmp_path_factory.mktemp("registry"))) as running:
        machine.call(add_twins, running)
        yield running


@pytest.fixture(scope="session")
def far_digest(machine: Machine, installation: Installation) -> str:
    """The digest of a release that is in no token: that of `registry.FAR`."""
    return machine.call(add_many, installation)


@pytest.fixture(scope="session")
def find_front(
    machine: Machine,
    authority: Authority,
    installation: Installation,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], Front]]:
    """Return a function that returns the front of this name, which then stays."""
    fronts: dict[str, Front] = {}
    with ExitStack() as stack:

        def find(name: str) -> Front:
            if name not in fronts:
                ground = Ground(
                    tmp_path_factory.mktemp("front"), authority, installation
                )
                hosted = machine.hosting(FRONTS[name](ground))
                fronts[name] = stack.enter_context(hosted)
            return fronts[name]

        yield find


@pytest.fixture
def plain(find_front: Callable[[str], Front]) -> Front:
    """The proxy as it comes."""
    return find_front("plain")


@pytest.fixture
def front(request: pytest.FixtureRequest, find_front: Callable[[str], Front]) -> Front:
    """The front that the test names."""
    return find_front(request.param)


@pytest.fixture(scope="session")
def find_site(
    machine: Machine, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Site]]:
    """Return a function that returns the site of this name, which then stays."""
    sites: dict[str, Site] = {}
    with ExitStack() as stack:

        def find(name: str) -> Site:
            if name not in sites:
                folder = tmp_path_factory.mktemp(name)
                site = Site(name, folder, machine, authority)
                sites[name] = stack.enter_context(site)
            return sites[name]

        yield find


@pytest.fixture
def client(
    request: pytest.FixtureRequest,
    machine: Machine,
    find_site: Callable[[str], Site],
) -> Iterator[Client]:
    """The client that the test names, with an empty home and an empty engine."""
    site, name = request.param
    pulling = find_site(site).client(name)
    yield pulling
    if isinstance(pulling, Docker):  # The engine is not its own.
        machine.call(pulling.forget)
