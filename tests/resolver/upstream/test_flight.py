"""A call that is under way is not made again, and nobody takes it from the others."""

import asyncio
import gc

import pytest

from resolver.errors import Reason, ServiceUnavailable
from resolver.upstream.flight import Flights


class Call:
    """What is called: waits until it may end, and counts."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.count = 0
        self.gate = asyncio.Event()
        self.failure = failure

    async def __call__(self) -> int:
        """Return which call it is, or fail."""
        self.count += 1
        number = self.count
        await self.gate.wait()
        if self.failure:
            raise self.failure
        return number


async def join_all(
    flights: Flights[str, int], call: Call, *keys: str
) -> list[int | BaseException]:
    """Return what all get who join at the same time but the first one, who goes."""
    tasks = [asyncio.create_task(flights.join(key, call)) for key in keys]
    await asyncio.sleep(0)
    assert all(key in flights for key in keys)
    tasks[0].cancel()
    await asyncio.wait(tasks[:1])
    call.gate.set()
    outcomes = await asyncio.gather(*tasks[1:], return_exceptions=True)
    for _ in range(3):
        await asyncio.sleep(0)  # Where nobody waits, it ends a little later.
    assert not any(key in flights for key in keys)
    return outcomes


def test_all_get_the_outcome_of_one_call() -> None:
    """One call for each key, also where the client goes away that began it."""

    async def play() -> None:
        flights, call = Flights[str, int](), Call()
        assert await join_all(flights, call, "a", "a", "b", "a") == [1, 2, 1]
        assert call.count == 2
        # Nothing is remembered of it.
        assert await flights.join("a", call) == 3

    asyncio.run(play())


@pytest.mark.parametrize("reason", [Reason.TIMEOUT, Reason.BUSY, Reason.STATUS])
def test_who_joins_late_has_time_of_its_own(reason: Reason) -> None:
    """A call that was not made in time is made for them; one that failed is not."""

    async def play() -> list[int | BaseException]:
        flights = Flights[str, int]()
        first = Call(ServiceUnavailable.because(reason, "no answer"))
        second = Call()
        second.gate.set()
        tasks = [
            asyncio.create_task(flights.join("a", call))
            for call in (first, second, second)
        ]
        await asyncio.sleep(0)
        first.gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    failed, *others = asyncio.run(play())
    assert isinstance(failed, ServiceUnavailable)
    is_over = reason is not Reason.STATUS
    assert others == ([1, 1] if is_over else [failed, failed])


@pytest.mark.parametrize("keys", ["aa", "a"], ids=["shared", "nobody waits"])
def test_failure_is_everybodys(keys: str, caplog: pytest.LogCaptureFixture) -> None:
    """All get the error; where nobody waits any more, it is no surprise to asyncio."""

    async def play() -> list[int | BaseException]:
        call = Call(ValueError("no"))
        return await join_all(Flights[str, int](), call, *keys)

    assert [*map(repr, asyncio.run(play()))] == ["ValueError('no')"] * (len(keys) - 1)
    gc.collect()
    assert not caplog.records
