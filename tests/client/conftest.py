"""The servers that the clients pull from, and these clients."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import cache

import pytest

from tests.authority import Authority
from tests.client.client import Client, Docker
from tests.client.front import FRONTS, Front, Ground
from tests.client.machine import Machine
from tests.client.site import Site
from tests.integration.registry import Installation, add_many, add_twins, installed

type Find[T] = Callable[[str], T]


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


def keeping[T](make: Callable[[str], AbstractContextManager[T]]) -> Iterator[Find[T]]:
    """Yield a function that returns what has this name, which then stays."""
    with ExitStack() as stack:
        yield cache(lambda name: stack.enter_context(make(name)))


@pytest.fixture(scope="session")
def find_front(
    machine: Machine,
    authority: Authority,
    installation: Installation,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Find[Front]]:
    """A function that returns the front of this name."""

    def make(name: str) -> AbstractContextManager[Front]:
        folder = tmp_path_factory.mktemp("front")
        return machine.hosting(FRONTS[name](Ground(folder, authority, installation)))

    yield from keeping(make)


@pytest.fixture(scope="session")
def find_site(
    machine: Machine, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Find[Site]]:
    """A function that returns the site of this name."""

    def make(name: str) -> Site:
        return Site(name, tmp_path_factory.mktemp(name), machine, authority)

    yield from keeping(make)


@pytest.fixture
def plain(find_front: Find[Front]) -> Front:
    """The proxy as it comes."""
    return find_front("plain")


@pytest.fixture
def front(request: pytest.FixtureRequest, find_front: Find[Front]) -> Front:
    """The front that the test names."""
    return find_front(request.param)


@pytest.fixture
def client(
    request: pytest.FixtureRequest,
    machine: Machine,
    find_site: Find[Site],
) -> Iterator[Client]:
    """The client that the test names, with an empty home and an empty engine."""
    site, name = request.param
    pulling = find_site(site).client(name)
    yield pulling
    if isinstance(pulling, Docker):  # The engine is not its own.
        machine.call(pulling.forget)
