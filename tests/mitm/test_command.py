"""What somebody can ask at the prompt, or by a key."""

import asyncio
import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from mitmproxy import exceptions, flowfilter
from mitmproxy.addons.onboarding import Onboarding
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.addons.view import View
from mitmproxy.test import taddons, tflow
from mitmproxy.tools.console.defaultkeys import map as map_default_keys
from mitmproxy.tools.console.keymap import Keymap

import addon
from localcloud import LocalCloud
from mitm.command import KEYS, Commands, filter_for
from mitm.option import REQUIRED
from mitm.story.kind import Kind
from mitm.story.record import KEY
from resolver.errors import ReleaseUnknown
from resolver.grammar.reference import parse_alias
from resolver.token.cache import Entry
from tests.mitm.story.sample import resolution
from tests.mitm.view.sample import reloaded

ALIAS = "org/app/2.3"
BROWSER = "balenablocks/browser-aarch64"
HIDDEN = "balenablocks/private-block"


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
    service: Any = SimpleNamespace(naming=SimpleNamespace(cache=cache))
    return Commands(lambda: service, lambda name: f"pull of {name}")


def test_pull_of_a_flow_is_told(prompt: Commands) -> None:
    """Who looks at a flow in mitmweb or the console gets to its pull."""
    with taddons.context():
        flow = tflow.tflow()
        assert prompt.pull(flow) == f"pull of {flow.id}"


def test_explanation_leads_to_the_pull(prompt: Commands) -> None:
    """From why a request failed it is one step to what else belongs to it."""
    with taddons.context():
        flow = tflow.tflow()
        assert prompt.explain([flow])[-1] == f"pull  pull of {flow.id}"


def test_page_of_pulls_that_there_is_not() -> None:
    """The command says what would show one."""
    with pytest.raises(exceptions.CommandError, match="set PULLS_PORT"):
        addon.RegistryProxy().find_pull("x")


def about(alias: str, kind: Kind = Kind.TOKEN) -> Any:
    """Return a flow about an alias."""
    flow = tflow.tflow()
    flow.metadata[KEY] = {"kind": str(kind), **({"alias": alias} if alias else {})}
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
    assert bool(matches(reloaded(about(alias)))) == is_shown
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


def test_explanation_is_logged(
    prompt: Commands, caplog: pytest.LogCaptureFixture
) -> None:
    """What the console shows is in mitmweb's event log too."""
    flow = about(ALIAS)
    caplog.set_level(logging.INFO)
    flow.comment = "token for something"
    assert prompt.explain([flow])[0] in caplog.text
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


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCloud]:
    """A cloud, and no key in the environment."""
    monkeypatch.delenv("BALENA_API_KEY", raising=False)
    with LocalCloud(publish=False) as opened:
        yield opened


def resolve(cloud: LocalCloud, text: str, **options: str) -> None:
    """Ask at the prompt of a proxy for this cloud what was pasted there stands for."""
    proxy = addon.RegistryProxy()

    async def ask() -> None:
        prompt = Commands(proxy.current_endpoints, proxy.find_pull)
        prompt.resolve(text)
        await asyncio.gather(*prompt._running)

    with taddons.context(Proxyserver(), Onboarding(), proxy) as context:
        mode = f"reverse:{cloud.registry_url}@127.0.0.1:0"
        context.configure(proxy, mode=[mode], **REQUIRED, **options)
        asyncio.run(ask())
        proxy.done()


@pytest.mark.parametrize(
    ("text", "tags", "line"),
    [
        (f"localhost:8080/{BROWSER}:2.3.8+rev1", "select", "  release   2.3.8+rev1"),
        (f"{BROWSER}/2.3:9.9", "select", "  note      the tag 9.9 is ignored: the"),
        (f"docker://h.io/{BROWSER}:2.9", "ignore", "  release   2.3.8+rev2"),
        ("alpine:3", "select", "'alpine' does not name a release: use <org>/<app>"),
        (HIDDEN, "select", f"{HIDDEN} is private or does not exist: check its name"),
    ],
)
def test_pasted_reference_is_resolved(
    cloud: LocalCloud,
    caplog: pytest.LogCaptureFixture,
    text: str,
    tags: str,
    line: str,
) -> None:
    """`balena.resolve` takes what people paste, and tells what this proxy serves."""
    caplog.set_level(logging.INFO)
    resolve(cloud, text, balena_tags=tags)
    lines = caplog.messages[-1].splitlines()
    assert any(each.startswith(line) for each in lines)
    assert "docker login" not in caplog.text


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("made-up-key-0123456789", "the key in BALENA_API_KEY is wrong or expired"),
        ("schlüssel", "BALENA_API_KEY holds characters that no balena API key has"),
    ],
)
def test_wrong_key_is_called_wrong(
    cloud: LocalCloud,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    message: str,
) -> None:
    """The variable is named, and its value is not shown."""
    monkeypatch.setenv("BALENA_API_KEY", key)
    caplog.set_level(logging.INFO)
    resolve(cloud, HIDDEN)
    assert caplog.messages[-1].startswith(message)
    assert key not in caplog.text
