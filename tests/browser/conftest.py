"""A browser for the tests, and mitmweb with pulls in it."""

from collections.abc import Iterator

import pytest

from demo.debug import BROWSER, PULLS, outcome
from demo.proxy import Proxy
from localcloud import LocalCloud
from tests.browser.browser import Browser, browsing


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser without a window."""
    with browsing(tmp_path_factory.mktemp("profile")) as made:
        yield made


@pytest.fixture(scope="session")
def mitmweb() -> Iterator[Proxy]:
    """The proxy of `make debug-demo`, after its good and bad pulls."""
    with (
        LocalCloud() as cloud,
        Proxy(cloud.registry_url, arguments=BROWSER, program="mitmweb") as proxy,
    ):
        for pull in PULLS:
            outcome(f"http://{proxy.host}", pull, cloud)
        yield proxy
