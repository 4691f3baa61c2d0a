"""A crowd: many who pull over slow lines, and some who take what they can.

It is one event loop in a process of its own, so that whoever is measured beside it
waits for the proxy alone: ``python -m bench.crowd`` takes a `Plan` as JSON, prints a
line once everybody is at work, and what came of it once its input ends.
"""

import asyncio
import json
import shutil
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from statistics import median
from threading import Event
from typing import Any, Self
from urllib.parse import urlencode

from bench.contestant import Contestant
from bench.load import ACCEPT, basic, skopeo_copy, time_command
from bench.program import Command, ProgramError
from bench.site import CROWDED, Site
from demo.terminal import say
from localcloud.server import Request, Response

ROOT = Path(__file__).resolve().parents[1]
PULLERS, HANGING, SLOW, FORGERS = 200, 60, 50, 2
LINES = 20
"""Addresses that those who pull share."""
PIECE, PIECE_SECONDS = 25_000, 0.25
"""What one takes at once, and how often: 100 kB in a second."""
SLOW_PIECE, SLOW_SECONDS = 256, 12
FORGED_SECONDS = 0.2
BEGIN_SECONDS = 0.15
RETRY_SECONDS = 1
FORGED_ROWS = 128
PULLS = 9
READY = "ready"
READY_SECONDS, END_SECONDS = 120, 30
PULLER = "carol"
"""Whose login it is that all pull with."""
HELD = "hanging"
"""The organization whose releases the API never says anything about."""
_LIMIT = 1 << 15

type Headers = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """Where the crowd goes, and with what."""

    port: int
    alias: str
    login: Headers
    """What those who pull log in with."""
    accept: Headers


class Wire:
    """One connection to the proxy, from an address of loopback."""

    def __init__(self, port: int, address: str) -> None:
        self._port, self._address = port, address

    async def __aenter__(self) -> Self:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection(
            "127.0.0.1", self._port, limit=_LIMIT, local_addr=(self._address, 0)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connection."""
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    async def ask(self, path: str, headers: Headers) -> tuple[int, int]:
        """Return status and length of an answer, whose body is still to be read."""
        lines = [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join([f"GET {path} HTTP/1.1", "Host: proxy.example", *lines])
        self._writer.write(f"{head}\r\n\r\n".encode())
        text = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        fields = (line.partition(":") for line in text.lower().split("\r\n")[1:])
        length = next((v for name, _, v in fields if name == "content-length"), None)
        if length is None:
            raise OSError("the answer does not say how long it is")
        return int(text.split(" ", 2)[1]), int(length)

    async def body(self, length: int) -> bytes:
        """Return a body at once."""
        return await self._reader.readexactly(length)

    async def slowly(self, length: int, piece: int, seconds: float) -> str:
        """Return the digest of a body, so much of which is taken so often."""
        digest = sha256()
        while length:
            part = await self._reader.readexactly(min(piece, length))
            digest.update(part)
            length -= len(part)
            await asyncio.sleep(seconds)
        return f"sha256:{digest.hexdigest()}"


class Members:
    """Those who make up the crowd, and what came of each thing that they did."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.counts: Counter[str] = Counter()
        self._begun: set[int] = set()
        self.is_ready = asyncio.Event()

    def all(self) -> list[Coroutine[Any, Any, None]]:
        """Return what they all do."""
        roles: list[tuple[int, Callable[[int], Awaitable[None]]]] = [
            *((PULLERS, self.pull), (HANGING, self.look_up_what_hangs)),
            *((SLOW, self.read_slowly), (FORGERS, self.forge)),
        ]
        return [self._repeat(role, n) for count, role in roles for n in range(count)]

    async def _repeat(self, role: Callable[[int], Awaitable[None]], n: int) -> None:
        name = role.__name__
        # As in life, not all begin at the same moment.
        await asyncio.sleep(n * BEGIN_SECONDS)
        while True:
            try:
                await role(n)
                self.counts[name] += 1
            except (OSError, asyncio.IncompleteReadError, ValueError) as error:
                self.counts[f"{name}: {type(error).__name__}"] += 1
                await asyncio.sleep(RETRY_SECONDS)

    async def pull(self, number: int) -> None:
        """Pull all layers of the image over a slow line, and verify them."""
        alias = self._plan.alias
        async with Wire(self._plan.port, f"127.0.1.{number % LINES + 1}") as wire:
            bearer = await self._bearer(wire, alias)
            for layer in await self._layers(wire, bearer):
                path = f"/v2/{alias}/blobs/{layer['digest']}"
                status, length = await wire.ask(path, bearer)
                self._expect(status)
                self._begun.add(number)
                if len(self._begun) == PULLERS:
                    self.is_ready.set()
                if await wire.slowly(length, PIECE, PIECE_SECONDS) != layer["digest"]:
                    raise OSError("another blob")

    async def look_up_what_hangs(self, number: int) -> None:
        """Ask for a release that the API says nothing about."""
        async with Wire(self._plan.port, "127.0.0.2") as wire:
            status, length = await wire.ask(_token_path(f"{HELD}/a{number}/1.0.0"), {})
            await wire.body(length)
            self.counts[f"look-ups answered {status}"] += 1
        await asyncio.sleep(RETRY_SECONDS)

    async def read_slowly(self, _: int) -> None:
        """Take next to nothing of a blob."""
        alias = self._plan.alias
        async with Wire(self._plan.port, "127.0.0.3") as wire:
            bearer = await self._bearer(wire, alias)
            layers = await self._layers(wire, bearer)
            layer = max(layers, key=lambda layer: layer["size"])
            _, length = await wire.ask(f"/v2/{alias}/blobs/{layer['digest']}", bearer)
            await wire.slowly(length, SLOW_PIECE, SLOW_SECONDS)

    async def forge(self, number: int) -> None:
        """Show tokens that nobody issued, one after the other."""
        bearer = {"Authorization": f"Bearer {_forge(self.counts['forge'])}"}
        async with Wire(self._plan.port, "127.0.0.4") as wire:
            for path in ("manifests/latest", "manifests/none", "tags/list"):
                _, length = await wire.ask(f"/v2/a/b{number}/{path}", bearer)
                await wire.body(length)
        await asyncio.sleep(FORGED_SECONDS)

    async def _bearer(self, wire: Wire, alias: str) -> Headers:
        content = await self._sound(wire, _token_path(alias), self._plan.login)
        return {"Authorization": f"Bearer {json.loads(content)['token']}"}

    async def _layers(self, wire: Wire, bearer: Headers) -> list[dict[str, Any]]:
        """Return the layers of the image, or of the first one of an index."""
        reference, headers = "latest", {**self._plan.accept, **bearer}
        while True:
            path = f"/v2/{self._plan.alias}/manifests/{reference}"
            manifest = json.loads(await self._sound(wire, path, headers))
            if "layers" in manifest:
                layers: list[dict[str, Any]] = manifest["layers"]
                return layers
            reference = manifest["manifests"][0]["digest"]

    async def _sound(self, wire: Wire, path: str, headers: Headers) -> bytes:
        status, length = await wire.ask(path, headers)
        body = await wire.body(length)
        self._expect(status)
        return body

    def _expect(self, status: int) -> None:
        if status != 200:  # noqa: PLR2004
            self.counts[f"pulls refused with {status}"] += 1
            raise OSError(f"the answer has status {status}")


@contextmanager
def crowding(site: Site, who: Contestant) -> Iterator[Counter[str]]:
    """Let the crowd be at work in the context; what came of it is there at its end.

    The API keeps silent about what is held, and is as before at the end.
    """
    plan = Plan(who.port, CROWDED, basic(site.cloud.keys[PULLER]), ACCEPT)
    over = Event()

    def hold(request: Request) -> Response | None:
        if HELD in request.target:
            over.wait()
            return Response(503)
        return None

    site.cloud.api.interpose, counts = hold, Counter[str]()
    process = subprocess.Popen(  # noqa: S603 - there is no shell
        [sys.executable, "-m", "bench.crowd", json.dumps(asdict(plan))],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        said = process.stdout.readline() if process.stdout else ""
        if said.strip() != READY:
            raise ProgramError(f"the crowd is not at work: {said or 'it ended'}")
        yield counts
        text, _ = process.communicate("", END_SECONDS)
        counts.update(json.loads(text))
    finally:
        over.set()
        process.kill()
        process.communicate()
        site.cloud.api.interpose = None


def pull(site: Site, who: Contestant) -> Command:
    """Return the command that pulls what the crowd pulls, to `copy` in the folder."""
    name = f"localhost:{who.port}/{CROWDED}"
    return skopeo_copy(name, site.cloud.keys[PULLER], site.folder)


def compare(site: Site, who: Contestant) -> tuple[float, float]:
    """Return the seconds of a pull alone, and in the crowd."""
    command = pull(site, who)

    def seconds() -> float:
        found = []
        for _ in range(PULLS):
            found.append(time_command(command, site.folder))
            shutil.rmtree(site.folder / "copy")
        return median(found)

    alone = seconds()
    with crowding(site, who):
        return alone, seconds()


def _forge(number: int) -> str:
    """Return a token of 4 kB with as many rows as its suffix has room for."""
    access = [{"type": "repository", "name": f"v2/{number:032x}", "actions": ["pull"]}]
    jwt = ".".join(map(_encode, ({"alg": "ES256"}, {"access": access}, number)))
    rows = [[f"1.{row}.{number}", "", 0, 0, 0] for row in range(FORGED_ROWS)]
    parts = (rows[first:][:64] for first in range(0, FORGED_ROWS, 64))
    table = {f"a/b{n}": {"w": 1, "c": part} for n, part in enumerate(parts)}
    return f"{jwt}~{_encode({'v': 2, 'a': table, 'r': {}})}"


def _encode(value: object) -> str:
    text = json.dumps(value, separators=(",", ":"))
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _token_path(alias: str) -> str:
    query = urlencode({"scope": f"repository:{alias}:pull"})
    return f"/auth/v1/token?{query}"


async def _main(plan: Plan) -> None:
    members = Members(plan)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(role) for role in members.all()]
        try:
            async with asyncio.timeout(READY_SECONDS):
                await members.is_ready.wait()
        except TimeoutError:
            say(f"after {READY_SECONDS} s: {dict(members.counts)}")
        else:
            say(READY)
            await asyncio.to_thread(sys.stdin.read)
        for task in tasks:
            task.cancel()
    say(json.dumps(members.counts))


if __name__ == "__main__":
    asyncio.run(_main(Plan(**json.loads(sys.argv[1]))))
