"""Turns are shared fairly: nobody has more than a share, and who has least is next."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest

from resolver.errors import Reason, ServiceUnavailable
from resolver.upstream.share import Party, Shares, address_party
from tests.resolver.fake import ident


def party(name: str) -> tuple[Party, ...]:
    """Return the parties that a text names by address, login and application."""
    kinds = ("address", "login", "application")
    return tuple(zip(kinds, name.split("/"), strict=False))


class Turns:
    """Who wants turns, and who got them, in order."""

    def __init__(self, shares: Shares) -> None:
        self.shares = shares
        self.got: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def want(self, *names: str) -> None:
        """Let these want a turn, one after the other."""
        for name in names:
            self.tasks.append(asyncio.create_task(self._take(name)))
            await asyncio.sleep(0)

    async def end(self, *names: str) -> Sequence[str]:
        """End a turn of each, and return who got one for it."""
        before = len(self.got)
        for name in names:
            self.shares.give_back(party(name))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        return self.got[before:]

    async def _take(self, name: str) -> None:
        await self.shares.take(party(name))
        self.got.append(name)


def play(count: int, share: int, scene: Any, **bounds: int) -> None:
    """Play a scene in an event loop."""

    async def run() -> None:
        turns = Turns(Shares(count, share, **bounds))
        scenery: Coroutine[Any, Any, None] = scene(turns)
        await scenery
        turns.shares.close()
        await asyncio.gather(*turns.tasks, return_exceptions=True)
        assert not turns.shares._lanes
        assert not turns.shares._waiting

    asyncio.run(run())


@pytest.mark.parametrize("kind", [0, 1, 2], ids=["address", "login", "application"])
def test_nobody_has_more_than_a_share(kind: int) -> None:
    """One address, login or application that fills its share delays no other."""
    share = 2 if kind == 0 else 4
    names = [
        "/".join("same" if place == kind else f"{number}" for place in range(3))
        for number in range(share + 1)
    ]

    async def scene(turns: Turns) -> None:
        await turns.want(*names, "9/9/9")
        assert turns.got == [*names[:share], "9/9/9"]
        assert await turns.end(names[0]) == [names[share]]

    play(10, 2, scene)


def test_one_address_leaves_room_in_an_application() -> None:
    """Another one that asks for the same application waits for nobody."""

    async def scene(turns: Turns) -> None:
        await turns.want("a//f", "a//f", "a//f", "b//f")
        assert turns.got == ["a//f", "a//f", "b//f"]

    play(10, 2, scene)


def test_who_has_least_is_next() -> None:
    """A queue of one address does not stand before another's, nor one login's."""

    async def scene(turns: Turns) -> None:
        await turns.want("a/k", "a/k", "a/k", "a/l", "b/m", "a/k", "c/n", "c/n")
        assert turns.got == ["a/k", "a/k"]
        assert await turns.end("a/k") == ["b/m"]
        assert await turns.end("b/m") == ["c/n"]
        assert await turns.end("c/n", "c/n", "a/k") == ["c/n", "a/l", "a/k"]

    play(2, 2, scene)


def test_equals_take_turns() -> None:
    """Among those who have as much, one comes after the other."""

    async def scene(turns: Turns) -> None:
        await turns.want("x", "a", "a", "b", "b")
        order = [await turns.end(name) for name in ("x", "a", "b", "a")]
        assert order == [["a"], ["b"], ["a"], ["b"]]

    play(1, 1, scene)


@pytest.mark.parametrize(
    ("names", "bounds"),
    [
        (["a/k", "b/l", "c/m"], {"waiting_max": 2}),
        (["a/k", "a/l", "a/m"], {"party_waiting_max": 2}),
        (["a/k", "b/k", "c/k"], {"party_waiting_max": 1}),
    ],
    ids=["all", "address", "login"],
)
def test_queue_is_bounded(names: Sequence[str], bounds: dict[str, int]) -> None:
    """Beyond the bound the client is told at once to come again, and others wait."""

    async def scene(turns: Turns) -> None:
        await turns.want("x", *names)
        assert turns.tasks[-1].done()
        with pytest.raises(ServiceUnavailable, match="waits for too many") as caught:
            await turns.tasks[-1]
        assert caught.value.reason is Reason.BUSY
        assert caught.value.headers == (("Retry-After", "10"),)
        assert await turns.end("x", names[0]) == names[:2]

    play(1, 1, scene, **bounds)


def test_a_login_stands_behind_nobody_without_one() -> None:
    """Of two addresses with as much each, the one that was there first is next."""

    async def scene(turns: Turns) -> None:
        await turns.want("x", "a/k/f", "b")
        assert await turns.end("x") == ["a/k/f"]

    play(1, 1, scene)


def test_a_full_queue_has_room_for_who_waits_least() -> None:
    """The last of those who fill it is told to come again, and not somebody else."""

    async def scene(turns: Turns) -> None:
        await turns.want("x", "a/k", "a/l", "a/m", "b")
        with pytest.raises(ServiceUnavailable, match="waits for too many"):
            await turns.tasks[3]
        assert await turns.end("x", "a/k", "a/l") == ["a/k", "a/l", "b"]

    play(1, 1, scene, waiting_max=3)


def test_who_goes_away_leaves_the_queue() -> None:
    """The turn of one that was cancelled, before or just when it came, is another's."""

    async def scene(turns: Turns) -> None:
        await turns.want("x", "a", "b", "c")
        turns.tasks[1].cancel()
        await asyncio.sleep(0)
        turns.shares.give_back(party("x"))
        turns.tasks[2].cancel()  # It was given the turn, and did not take it.
        for _ in range(3):
            await asyncio.sleep(0)
        assert turns.got == ["x", "c"]

    play(1, 1, scene)


@pytest.mark.parametrize(
    ("address", "other", "is_same"),
    [
        ("127.0.0.1", "127.0.0.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("nobody", "somebody", False),
    ],
    ids=ident,
)
def test_address(address: str, other: str, *, is_same: bool) -> None:
    """Addresses of one IPv6 network are one party; without one there is none."""
    assert (address_party(address) == address_party(other)) is is_same
    assert address_party("") == ()
