"""Events reach whom mitmproxy itself would give them to."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from mitmproxy import exceptions, http
from mitmproxy.proxy.layers.http._hooks import HttpRequestHook
from mitmproxy.test import taddons, tflow

from mitm.guard import dispatch
from mitm.guard.dispatch import Dispatch


class Taker:
    """An addon that takes requests, perhaps with others below it."""

    def __init__(self, name: str, seen: list[str], *addons: Any) -> None:
        self.name = name
        self.seen = seen
        self.addons = addons

    def request(self, _flow: http.HTTPFlow) -> None:
        """Take note."""
        self.seen.append(self.name)


class Slow(Taker):
    """One that has to be waited for."""

    async def request(self, flow: http.HTTPFlow) -> None:  # type: ignore[override]
        """Take note a little later."""
        await asyncio.sleep(0)
        super().request(flow)


class Failing(Taker):
    """One that fails."""

    error: Exception = ValueError("a bug")

    def request(self, flow: http.HTTPFlow) -> None:
        """Take note, and fail."""
        super().request(flow)
        raise self.error


class Halting(Failing):
    """One that lets nobody else have it."""

    error = exceptions.AddonHalt()


class Deaf:
    """One that takes nothing."""


class Crooked:
    """One that has something else by the name of the event."""

    request = "no handler"


@pytest.fixture
def seen() -> list[str]:
    """Who had the event."""
    return []


@pytest.fixture
def context() -> Iterator[taddons.context]:
    """Mitmproxy without addons."""
    with taddons.context() as tctx:
        yield tctx


def happens(context: taddons.context) -> None:
    """Let a request happen."""
    event = HttpRequestHook(tflow.tflow())
    asyncio.run(context.master.addons.trigger_event(event))


@pytest.mark.parametrize("is_fast", [False, True])
def test_everybody_has_it_in_order(
    context: taddons.context, seen: list[str], *, is_fast: bool
) -> None:
    """Addons, those below them, and those that are waited for: as mitmproxy does it."""
    manager = context.master.addons
    inner = Taker("inner", seen)
    manager.add(Slow("slow", seen), Deaf(), Taker("outer", seen, inner))
    manager.add(Failing("failing", seen, Taker("below", seen)), Taker("last", seen))
    if is_fast:
        assert Dispatch(manager).install()
    for _ in range(2):
        happens(context)
    # What is below a failing one is hindered by it, what is beside is not.
    assert seen == ["slow", "outer", "inner", "failing", "last"] * 2


@pytest.mark.parametrize("is_fast", [False, True])
def test_one_can_keep_it_to_itself(
    context: taddons.context, seen: list[str], *, is_fast: bool
) -> None:
    """Nobody after it has the event, as with mitmproxy."""
    manager = context.master.addons
    manager.add(Halting("halting", seen), Taker("last", seen))
    if is_fast:
        assert Dispatch(manager).install()
    happens(context)
    assert seen == ["halting"]


@pytest.mark.parametrize("is_fast", [False, True])
def test_who_has_no_handler_is_named(
    context: taddons.context,
    seen: list[str],
    caplog: pytest.LogCaptureFixture,
    *,
    is_fast: bool,
) -> None:
    """It is logged, and hinders nobody."""
    manager = context.master.addons
    manager.add(Crooked(), Taker("last", seen))
    if is_fast:
        assert Dispatch(manager).install()
    caplog.set_level(logging.ERROR)
    happens(context)
    assert seen == ["last"]
    assert "request" in caplog.text


def test_who_comes_has_it_and_who_goes_has_not(
    context: taddons.context, seen: list[str]
) -> None:
    """Scripts are loaded anew while mitmproxy runs."""
    manager = context.master.addons
    first, second, below = (Taker(name, seen) for name in ("first", "second", "below"))
    manager.add(first)
    assert Dispatch(manager).install()
    happens(context)
    manager.add(second)
    happens(context)
    manager.remove(first)
    happens(context)
    # As mitmproxy's own addon for scripts does it.
    manager.register(below)
    second.addons = (below,)
    happens(context)
    assert seen == ["first", "first", "second", "second", "second", "below"]


def test_other_code_is_left_alone(
    context: taddons.context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where mitmproxy is another, its own way is taken."""
    monkeypatch.setattr(dispatch, "KNOWN_CODE", "another")
    manager = context.master.addons
    assert not Dispatch(manager).install()
    assert "trigger_event" not in vars(manager)


def test_own_way_comes_back(context: taddons.context, seen: list[str]) -> None:
    """What was stood in for is as it was."""
    manager = context.master.addons
    manager.add(Taker("one", seen))
    made = Dispatch(manager)
    assert made.install()
    made.uninstall()
    assert not {"trigger_event", "register", "remove", "clear"} & set(vars(manager))
    happens(context)
    assert seen == ["one"]
