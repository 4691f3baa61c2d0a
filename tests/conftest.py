"""How tests are spread over processes, and which of them run servers.

pytest-xdist gives a group of tests to one process, so that what they share is started
once: a file, or a folder whose files share servers.
"""

import signal
import sys
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from demo.proxy import Proxy
from registry_proxy import serve, trust
from tests.warm import Warm

TESTS = Path(__file__).parent
SHARING = ("browser", "client", "container")
"""Folders whose files share servers."""
PULLING = ("tests/client/test_build.py", "tests/client/test_pull.py")
"""Half of what clients do: the other half takes as long, in another process."""
SERVING = (
    *(*SHARING, "golden", "integration"),
    *("localcloud/test_cloud.py", "report/test_recorded_pulls.py"),
    *(
        "test_demo.py",
        "test_wheel.py",
        "pull/test_registry.py",
        "registry_proxy/test_command.py",
        "registry_proxy/test_trust.py",
    ),
)
"""What starts servers, which `make unit` does without."""
FIRST = ("client", "container", "integration")
"""What takes longest, so that no process is left with it at the end."""

# The same few examples each time; `make fuzz` tries many, and new ones.
settings.register_profile("few", max_examples=20, deadline=None, derandomize=True)
settings.load_profile("few")


def pytest_configure(config: pytest.Config) -> None:
    """Make mitmproxy's authority before several processes want to at once.

    Who ends the tests by SIGTERM ends what they started, as with Ctrl-C.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if sys.platform == "linux":
        warm = Warm()
        Proxy.launch = staticmethod(warm.launch)
        config.add_cleanup(warm.end)
    if not hasattr(config, "workerinput"):
        confdir = serve.confdir({})
        serve.link_options(confdir)
        trust.authority_file(confdir)


class _Groups(LoadScopeScheduling):  # type: ignore[misc]  # untyped
    """Gives all tests of a group to one process."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if file in PULLING:
            return "pulling"
        folder = file.split("/")[1]
        return folder if folder in SHARING else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _Groups:
    """Return what spreads the tests, in their order."""
    config.option.loadscopereorder = False
    return _Groups(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that start servers, and begin with those that take long."""
    for item in items:
        path = item.path.relative_to(TESTS)
        if path.parts[0] in SERVING or str(path) in SERVING:
            item.add_marker(pytest.mark.server)
    items.sort(key=_order)


def _order(item: pytest.Item) -> int:
    folder = item.path.relative_to(TESTS).parts[0]
    return FIRST.index(folder) if folder in FIRST else len(FIRST)
