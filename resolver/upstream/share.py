"""Shares: who of many has a turn, where only so many may run at the same time.

Everything that runs is for some parties: the client's address, its login, the
application that it asks for. No party has more than its share, so one whose calls hang
delays itself alone. What many addresses have in common has twice the share of one
address, so none takes all of it from the others. Who waits has its turn in the order of
who has the least: first by address, then by login, then by application, and among
equals one after the other. What waits is bounded, in all and for each party. Beyond
that it is refused at once, or in its place the last one of those who wait most.
"""

import asyncio
from collections import Counter, deque
from functools import lru_cache
from ipaddress import ip_address, ip_network

from resolver.errors import Reason, ServiceUnavailable

WAITING_MAX = 2048
"""In all; to choose among so many takes a millisecond."""
PARTY_WAITING_MAX = 512
"""For one address: at two seconds a call, more would not be served in time anyway."""
NETWORK_BITS = 64
"""An IPv6 client has as many addresses as it wants, all of one network."""

KINDS = ("address", "login", "application")

type Party = tuple[str, object]
"""Somebody of a kind, such as ``("address", "127.0.0.1")``."""


@lru_cache(1000)
def household(address: str) -> str:
    """Return by which name an address is counted: of IPv6 the network."""
    text = address.partition("%")[0]
    try:
        parsed = ip_address(text)
    except ValueError:
        return text
    if parsed.version == 4:  # noqa: PLR2004
        return text
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ip_network((text, NETWORK_BITS), strict=False))


def address_party(address: str) -> tuple[Party, ...]:
    """Return the party that an address stands for; none for no address."""
    return (("address", household(address)),) if address else ()


class Shares:
    """Gives turns; belongs to one event loop."""

    def __init__(
        self,
        count: int,
        share: int,
        *,
        waiting_max: int = WAITING_MAX,
        party_waiting_max: int = PARTY_WAITING_MAX,
    ) -> None:
        """Let so many run, and of each party no more than a share.

        Args:
            count: how many run at the same time.
            share: how many of them for one address.
            waiting_max: how many wait, in all.
            party_waiting_max: how many wait for one address.

        """
        self._count = count
        self._share = share
        self._waiting_max = waiting_max
        self._party_waiting_max = party_waiting_max
        self._running: Counter[Party] = Counter()
        self._running_count = 0
        self._waiting: Counter[Party] = Counter()
        self._lanes: dict[tuple[Party, ...], deque[asyncio.Future[None]]] = {}

    async def take(self, parties: tuple[Party, ...]) -> None:
        """Wait for a turn, which `give_back` ends.

        Raises:
            ServiceUnavailable: too many wait already.

        """
        if self._may_run(parties):
            # Whoever waits could not have this turn.
            self._count_running(parties, 1)
            return
        if not self._make_room(parties):
            raise busy()
        turn = asyncio.get_running_loop().create_future()
        self._lanes.setdefault(parties, deque()).append(turn)
        self._waiting.update(parties)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._leave(parties, turn)
            elif turn.exception() is None:
                self.give_back(parties)
            raise

    def give_back(self, parties: tuple[Party, ...]) -> None:
        """End a turn, and let others have theirs."""
        self._count_running(parties, -1)
        while self._running_count < self._count:
            free = filter(self._may_run, self._lanes)
            lane = min(free, key=self._running_of, default=None)
            if lane is None:
                return
            turn = self._lanes[lane][0]
            self._leave(lane, turn)
            if not turn.cancelled():
                self._count_running(lane, 1)
                turn.set_result(None)

    def is_free(self, parties: tuple[Party, ...]) -> bool:
        """Return whether none of the parties has a share that is used up."""
        return all(
            self._running[party] < self._share * _parts(party) for party in parties
        )

    def close(self) -> None:
        """Let nobody wait any more."""
        for turns in list(self._lanes.values()):
            for turn in list(turns):
                turn.cancel()

    def _may_run(self, parties: tuple[Party, ...]) -> bool:
        return self._running_count < self._count and self.is_free(parties)

    def _running_of(self, parties: tuple[Party, ...]) -> list[int]:
        """Return how much runs for each of them, by kind; for one that is missing 0."""
        counts = {party[0]: self._running[party] for party in parties}
        return [counts.get(kind, 0) for kind in KINDS]

    def _make_room(self, parties: tuple[Party, ...]) -> bool:
        """Return whether there is room to wait, if need be of somebody else's."""
        if any(
            self._waiting[party] >= self._party_waiting_max * _parts(party)
            for party in parties
        ):
            return False
        if sum(map(len, self._lanes.values())) < self._waiting_max:
            return True
        longest = max(reversed(self._lanes), key=self._waiting_of)
        if self._waiting_of(longest) <= self._waiting_of(parties) + 1:
            return False  # It would be next to go itself.
        last = self._lanes[longest][-1]
        self._leave(longest, last)
        last.set_exception(busy())
        return True

    def _waiting_of(self, parties: tuple[Party, ...]) -> int:
        """Return how much waits for that one of them for whom the most does."""
        return max((self._waiting[party] for party in parties), default=0)

    def _count_running(self, parties: tuple[Party, ...], change: int) -> None:
        self._running_count += change
        _count(self._running, parties, change)

    def _leave(self, lane: tuple[Party, ...], turn: asyncio.Future[None]) -> None:
        """Let a turn wait no longer, and its lane stand behind those like it."""
        turns = self._lanes.get(lane, deque())
        if turn not in turns:
            return
        turns.remove(turn)
        del self._lanes[lane]
        if turns:
            self._lanes[lane] = turns
        _count(self._waiting, lane, -1)


def _parts(party: Party) -> int:
    """Return how many shares a party has."""
    return 1 if party[0] == "address" else 2


def busy() -> ServiceUnavailable:
    """Return what is raised where a call is not made."""
    return ServiceUnavailable.because(
        Reason.BUSY,
        "the proxy waits for too many answers of the registry or of servers behind it"
        " already; try again later",
    )


def _count(counter: Counter[Party], parties: tuple[Party, ...], change: int) -> None:
    for party in parties:
        counter[party] += change
        if not counter[party]:
            del counter[party]
