"""mitmdump asks those addons alone that have something to do."""

from collections.abc import Iterator

import pytest
from mitmproxy import addons
from mitmproxy.addons.dumper import Dumper
from mitmproxy.addons.keepserving import KeepServing
from mitmproxy.addons.readfile import ReadFileStdin
from mitmproxy.addons.termlog import TermLog
from mitmproxy.test import taddons

from mitm.guard.idle import IDLE_ADDONS, remove_idle_addons

KEPT = {
    *("nextlayer", "proxyserver", "scriptloader", "termlog", "tlsconfig"),
}


class View:
    """What an interface shows flows with."""

    name = "view"


@pytest.fixture
def context() -> Iterator[taddons.context]:
    """All that mitmdump has."""
    printing = TermLog()
    more = (printing, Dumper(), KeepServing(), ReadFileStdin())
    with taddons.context(*addons.default_addons(), *more, loadcore=False) as context:
        context.options.update(block_global=False, flow_detail=0, onboarding=False)
        yield context
    printing.uninstall()


def test_addons_without_work_are_removed(context: taddons.context) -> None:
    """What is left has work; each that is named here is one of mitmproxy's."""
    manager = context.master.addons
    assert IDLE_ADDONS.keys() <= manager.lookup.keys()
    idle_options = remove_idle_addons()
    assert manager.lookup.keys() - {"asynccontext"} == KEPT
    assert not IDLE_ADDONS.keys() & manager.lookup.keys()
    assert {"modify_headers", "hardump"} <= set(idle_options)


@pytest.mark.parametrize(
    ("option", "value", "name"),
    [
        ("save_stream_file", "/nowhere", "save"),
        ("modify_headers", ["/x/y/z"], "modifyheaders"),
        ("flow_detail", 1, "dumper"),
        ("block_global", True, "block"),
    ],
)
def test_addon_with_work_stays(
    context: taddons.context, option: str, value: object, name: str
) -> None:
    """Whoever starts mitmdump with an option gets what it does."""
    context.options._options[option].set(value)
    assert option not in remove_idle_addons()
    assert name in context.master.addons.lookup


def test_interfaces_keep_all(context: taddons.context) -> None:
    """Somebody there may use each of them at any moment."""
    context.master.addons.add(View())
    before = set(context.master.addons.lookup)
    assert not remove_idle_addons()
    assert set(context.master.addons.lookup) == before
