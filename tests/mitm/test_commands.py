"""What somebody can ask at the prompt, or by a key."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from mitmproxy import exceptions, flowfilter
from mitmproxy.addons.view import View
from mitmproxy.test import taddons, tflow
from mitmproxy.tools.console.defaultkeys import map as map_default_keys
from mitmproxy.tools.console.keymap import Keymap

from mitm.commands import KEYS, Commands, filter_for
from mitm.fact import Fact, note
from mitm.record import Kind
from resolver.cache import Entry
from resolver.errors import ReleaseUnknown
from resolver.reference import parse_alias
from tests.mitm.test_story import resolution

ALIAS = "org/app/2.3"


class Cache:
    """A cache that remembers two things."""

    def __init__(self) -> None:
        self.forgotten: list[str] = []

    def entries(self) -> list[Entry]:
        """Return what is remembered."""
        missing = ReleaseUnknown("org/app has no release 9")
        return [
            Entry(parse_alias(ALIAS), "anybody", resolution(), 299.6),
            Entry(parse_alias("org/app/9"), "key 3f2a9c", missing, -5),
        ]

    def forget(self, begin: str = "") -> int:
        """Take note of what is to be forgotten."""
        self.forgotten.append(begin)
        return 1


@pytest.fixture
def cache() -> Cache:
    """What is remembered."""
    return Cache()


@pytest.fixture
def prompt(cache: Cache) -> Commands:
    """The commands of a proxy that remembers something."""
    service: Any = SimpleNamespace(cache=cache)
    return Commands(lambda: service)


def about(alias: str, kind: Kind = Kind.TOKEN) -> Any:
    """Return a flow about an alias."""
    flow = tflow.tflow()
    note(flow, {Fact.ALIAS: alias or None, Fact.KIND: kind})
    return flow


@pytest.mark.parametrize(
    ("alias", "is_shown"),
    [
        ("org/app/2.3", True),
        ("org/app/2.3.8", True),
        ("org/other, org/app/2.3", True),
        ("org/app/2x3", False),
        ("xorg/app/2.3", False),
        ("other/org/app/2.3", False),
    ],
)
def test_filter_keeps_one_pull(alias: str, *, is_shown: bool) -> None:
    """Aliases that begin so, also as the second of a token request; no others."""
    matches = flowfilter.parse(filter_for(ALIAS))
    assert bool(matches(about(alias))) == is_shown
    assert matches(about("", Kind.BASE))
    assert not matches(about("", Kind.PING))


def test_flows_are_filtered_in_the_list(prompt: Commands) -> None:
    """`balena.flows` limits the list, without an argument it shows all again."""
    view = View()
    with taddons.context(view, prompt) as context:
        view.add([about(ALIAS), about("org/other"), about("", Kind.BASE)])
        context.master.commands.execute(f"balena.flows {ALIAS}")
        assert len(view) == 2
        context.master.commands.execute("balena.flows")
        assert len(view) == 3
        context.master.commands.execute("balena.flows.like @focus")
        assert len(view) == 2


def test_flows_need_a_list(prompt: Commands) -> None:
    """Mitmdump says in which programs the command works."""
    with (
        taddons.context(prompt) as context,
        pytest.raises(exceptions.CommandError, match="make web"),
    ):
        context.master.commands.execute(f"balena.flows {ALIAS}")


def test_flow_about_nothing_is_like_no_other(prompt: Commands) -> None:
    """A ping belongs to no single pull, and that is said."""
    with pytest.raises(exceptions.CommandError, match="no alias"):
        prompt.flows_like(about("", Kind.BASE))


def test_explanation_is_shown_and_logged(
    prompt: Commands, caplog: pytest.LogCaptureFixture
) -> None:
    """The console shows the sentences, mitmweb's event log has them too."""
    flow = about(ALIAS)
    caplog.set_level(logging.INFO)
    flow.comment = "token for something"
    told = prompt.explain([flow])
    assert told[0] == "token for something"
    assert f"The client asked for a token to pull {ALIAS}" in told[1]
    assert "token for something" in caplog.text
    with pytest.raises(exceptions.CommandError, match="@focus"):
        prompt.explain([])


def test_cache_is_shown(prompt: Commands, cache: Cache) -> None:
    """For whom, what, and how long; and it can be cleared."""
    found, refused = prompt.cache()
    assert found.startswith(f"{ALIAS} for anybody: 2.3.8+rev2 (commit b4b201f)")
    assert found.endswith(", 300 s")
    assert refused == (
        "org/app/9 for key 3f2a9c: refused, org/app has no release 9, if the API fails"
    )
    assert prompt.clear_cache("org/app") == "1 entry of org/app forgotten"
    prompt.clear_cache()
    assert cache.forgotten == ["org/app", ""]


def test_keys_are_free_in_the_console() -> None:
    """No key of mitmproxy's own is taken from its user."""
    keymap = Keymap(None)
    map_default_keys(keymap)
    for key, (_, contexts, _) in KEYS.items():
        for context in (*contexts, "global"):
            assert keymap.get(context, key) is None
