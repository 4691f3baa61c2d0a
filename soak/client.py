"""What clients do: some pull, some ask for what is not there, some misbehave."""

import json
import re
import shutil
import socket
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from threading import Event
from urllib.parse import urlencode

from bench.load import (
    ACCEPT,
    TIMEOUT,
    Question,
    Work,
    basic,
    digest_of,
    fetch,
    skopeo_copy,
)
from bench.program import ProgramError, run
from bench.site import TOKEN_PATH
from localcloud.image import Image
from soak.fault import API, REGISTRY, Scene, Tally

PULL_SECONDS = 120
READY_SECONDS = 15
"""For so long readiness may stand for what is mended: it is remembered."""
EXCUSED = "429,502,503"
"""What a client may be told where registry or API fails."""
_ASKED = json.loads(Path(__file__).with_name("asked.json").read_text())
PULLED: dict[str, str] = _ASKED["pulled"]
"""Aliases, and the locations that they stand for in localcloud's catalog."""
LARGE = next(iter(PULLED))
REFUSED: dict[str, str] = _ASKED["refused"]
"""Names, and what is answered in place of a manifest."""
SENT: dict[str, str] = _ASKED["sent"]
"""What is sent after a pause, and what has to come; nothing where it is but a half."""
PAUSE_SECONDS = 3
CHUNK = 1 << 16
SLOW_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Client:
    """One of many; what it does is up to chance."""

    scene: Scene
    tally: Tally
    chance: Random
    over: Event
    """Set when there is no time left for anything new."""
    folder: Path

    def live(self) -> None:
        """Do one thing after the other."""
        acts: dict[Callable[[], None], int] = {
            self.pull: 8,
            self.ask_often: 4,
            self.be_refused: 4,
            self.check_health: 2,
            self.misbehave: 10,
            self.take_a_blob: 6,
        }
        while not self.over.wait(self.chance.uniform(0, 0.2)):
            (act,) = self.chance.choices(list(acts), list(acts.values()))
            began = time.monotonic()
            try:
                act()
            except OSError as error:
                # Only a blob may break off: whatever is broken, clients are answered.
                needs = REGISTRY if act == self.take_a_blob else ""
                self.tally.failed(act.__name__, type(error).__name__, needs, began)

    def pull(self) -> None:
        """Pull with skopeo, which verifies blobs; the manifest is verified here."""
        alias = self.chance.choice(list(PULLED))
        name, copy = f"{self.scene.proxy.host}/{alias}", self.folder / "copy"
        command = skopeo_copy(name, self.scene.cloud.keys["carol"], self.folder)
        began = time.monotonic()
        try:
            run(command, seconds=PULL_SECONDS)
            if self._manifest(alias) == (copy / "manifest.json").read_bytes():
                self.tally.right("pulls")
            else:
                self.tally.find(f"pull of {alias}: another image")
        except ProgramError as error:
            last = str(error).strip().splitlines()[-1]
            self.tally.failed("pulls", f"{alias}: {last}", API + REGISTRY, began)
        finally:
            shutil.rmtree(copy, ignore_errors=True)

    def ask_often(self) -> None:
        """Ask with wrk for a manifest, or for tokens, on kept connections or new."""
        alias = self.chance.choice(list(PULLED))
        path, headers = self._token_request(alias)
        needs, check = API, 'has="token"'
        if self.chance.choice((True, False)):
            needs, body = REGISTRY, self.folder / "body"
            body.write_bytes(self._manifest(alias))
            path, check = f"/v2/{alias}/manifests/latest", f"same={body}"
            if not (token := self._bearer(alias)):
                return
            headers = ACCEPT | token
        work = Work(
            f"http://{self.scene.proxy.host}",
            [Question(path, headers)],
            check,
            connections=4,
            is_kept=self.chance.choice((True, False)),
            excused=EXCUSED,
        )
        began = time.monotonic()
        try:
            done = work.run(1, self.folder)
        except ProgramError as error:
            self.tally.find(f"wrk: {error}")
            return
        self.tally.right("answers to wrk", done["requests"] - done["failed"])
        if done["failed"]:
            came = f"{path}: {done['failed']} of {done['requests']} fail"
            self.tally.failed("bursts of wrk", came, needs, began)

    def be_refused(self) -> None:
        """Ask for what is not there, or not for everybody."""
        name, expected = self.chance.choice(list(REFUSED.items()))
        if headers := self._bearer(name):
            self._get(f"/v2/{name}/manifests/latest", expected, "", headers)

    def check_health(self) -> None:
        """Ask as an orchestrator does, and as every client does first."""
        self._get("/ping", "200")
        self._get("/ready", "200", API + REGISTRY, wait=READY_SECONDS)
        self._get("/v2/", "401 UNAUTHORIZED", REGISTRY)

    def misbehave(self) -> None:
        """Be idle, and then send what is no sound request, or half of one."""
        request, expected = self.chance.choice(list(SENT.items()))
        with self._connect() as wire:
            self.over.wait(self.chance.uniform(0, PAUSE_SECONDS))
            wire.sendall(request.encode())
            if expected:
                content = b"".join(iter(lambda: wire.recv(CHUNK), b""))
                head, _, body = content.partition(b"\r\n\r\n")
                self._is(expected, f"{request!r}", head[9:12].decode(), body)

    def take_a_blob(self) -> None:
        """Take a blob slowly and verify it, or go away in the middle of it."""
        blob = max(self._image(LARGE).blobs, key=lambda blob: len(blob.content))
        if not (headers := self._bearer(LARGE)):
            return
        question = Question(f"/v2/{LARGE}/blobs/{blob.digest}", headers)
        left = self.chance.choice((0, self.chance.randrange(len(blob.content)), None))
        content, began = bytearray(), time.monotonic()
        with self._connect() as wire:
            wire.sendall(question.on_wire("proxy.example", is_kept=False).encode())
            while left is None or len(content) < left:
                if not (piece := wire.recv(CHUNK)):
                    break
                content += piece
                self.over.wait(SLOW_SECONDS)
        if left is not None:
            self.tally.right("blobs that were left")
        elif digest_of(content.partition(b"\r\n\r\n")[2]) == blob.digest:
            self.tally.right("slow blobs")
        else:
            self.tally.failed("slow blobs", f"{content[:12]!r}", REGISTRY, began)

    def _get(
        self,
        path: str,
        expected: str,
        needs: str = "",
        headers: Mapping[str, str] | None = None,
        wait: float = 0,
    ) -> bytes:
        """Return an answer as it has to be: a status, and the code of a refusal."""
        began, what = time.monotonic(), f"GET {path.partition('?')[0]}"
        answer = fetch(f"http://{self.scene.proxy.host}{path}", headers or {})
        status = str(answer.status_code)
        if status in EXCUSED and status not in expected:
            self.tally.failed(what, status, needs, began, wait)
        elif self._is(expected, what, status, answer.content):
            return answer.content
        return b""

    def _is(self, expected: str, what: str, status: str, content: bytes) -> bool:
        """Return whether a status and the code of a refusal are those expected."""
        code = re.search(rb'"code": ?"(\w+)"', content)
        came = f"{status} {code[1].decode()}" if code else status
        if came == expected:
            self.tally.right(f"answers {came}")
        else:
            self.tally.find(f"{what}: {came}, not {expected}")
        return came == expected

    def _token_request(self, alias: str) -> tuple[str, dict[str, str]]:
        """Return path and headers; nobody logs in for what is then refused."""
        query = urlencode({"scope": f"repository:{alias}:pull"})
        login = basic(self.scene.cloud.keys["carol"]) if alias in PULLED else {}
        return f"{TOKEN_PATH}?{query}", login

    def _bearer(self, alias: str) -> dict[str, str]:
        """Return the header with a token; nothing where there was none."""
        path, headers = self._token_request(alias)
        content = self._get(path, "200", API, headers)
        token = json.loads(content or b"{}").get("token")
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _image(self, alias: str) -> Image:
        """Return the image that an alias stands for."""
        images = self.scene.cloud.images
        return next(image for image in images if PULLED[alias] in image.repository)

    def _manifest(self, alias: str) -> bytes:
        """Return the content of its manifest that is tagged."""
        return next(one.content for one in self._image(alias).manifests if one.tag)

    def _connect(self) -> socket.socket:
        """Return a connection that is reset at its end as often as not."""
        wire = socket.socket()
        wire.settimeout(TIMEOUT)
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, CHUNK)
        if self.chance.choice((True, False)):
            linger = struct.pack("ii", 1, 0)
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        wire.connect(("127.0.0.1", self.scene.proxy.port))
        return wire
