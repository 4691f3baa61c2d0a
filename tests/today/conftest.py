"""The servers that the clients of today pull from, and these clients."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from demo.proxy import Proxy
from tests.integration.client import Client, Docker
from tests.integration.registry import Installation, installed
from tests.today.site import CLIENTS, HERE_NAME, OLD, SUITES, Site

ALL = [(HERE_NAME, name) for name in OLD]
ALL += [(suite, name) for suite in SUITES for name in CLIENTS]


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The real registry, with localcloud's API."""
    with installed(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="session")
def proxy(installation: Installation) -> Iterator[Proxy]:
    """The proxy in front of it, over plain HTTP."""
    with Proxy(installation.url, environment={"TAGS": "select"}) as running:
        yield running


@pytest.fixture(scope="session")
def find_site(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], Site]]:
    """Return a function that returns the site of this name, which then stays."""
    sites: dict[str, Site] = {}
    with ExitStack() as stack:

        def find(name: str) -> Site:
            if name not in sites:
                site = Site(name, tmp_path_factory.mktemp(name))
                sites[name] = stack.enter_context(site)
            return sites[name]

        yield find


@pytest.fixture(params=ALL, ids="-".join)
def client(
    request: pytest.FixtureRequest, find_site: Callable[[str], Site]
) -> Iterator[Client]:
    """Each of the clients in turn, with an empty home and an empty engine."""
    suite, name = request.param
    made = find_site(suite).client(name)
    yield made
    if isinstance(made, Docker):
        made.forget()
