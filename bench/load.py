"""What asks: wrk, and skopeo and curl timed by hyperfine."""

import hashlib
import json
import shlex
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import requests
import urllib3

from bench.contestant import Contestant
from bench.program import Command, ProgramError, find, run
from bench.site import TOKEN_PATH, Site
from localcloud.image import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Image,
)

SCRIPT = Path(__file__).with_name("load.lua")
TIMEOUT = 20
ACCEPT = {"Accept": f"{DOCKER_MANIFEST}, {DOCKER_LIST}, {OCI_MANIFEST}, {OCI_INDEX}"}
# The certificates are of this machine.
urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)


type Done = dict[str, Any]
"""What wrk found, as `load.lua` puts it; median and slow are milliseconds."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request, and the status that has to come."""

    path: str
    headers: Mapping[str, str]
    status: int = 200

    def on_wire(self, host: str, *, is_kept: bool) -> str:
        """Return the request, for a connection that is kept or is new each time."""
        closing = {} if is_kept else {"Connection": "close"}
        headers = {"Host": host, **self.headers, **closing}
        lines = [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([f"GET {self.path} HTTP/1.1", *lines, "", ""])


@dataclass(frozen=True, slots=True)
class Work:
    """What wrk is to do."""

    url: str
    questions: Sequence[Question]
    check: str
    """What every body has to be, as `load.lua` takes it."""
    connections: int = 1
    is_kept: bool = True
    excused: str = ""
    """Statuses that may come as well."""

    def run(self, seconds: int, folder: Path) -> Done:
        """Let wrk ask for so long; every answer has to be right."""
        sent, host = folder / "sent", urlsplit(self.url).netloc
        wire = [q.on_wire(host, is_kept=self.is_kept) for q in self.questions]
        sent.write_text("".join(wire))
        statuses = ",".join(str(question.status) for question in self.questions)
        command = (
            *(find("wrk"), "-t1", f"-c{self.connections}", f"-d{seconds}s"),
            *("--timeout", f"{TIMEOUT}s", "-s", SCRIPT, self.url, "--"),
            *(sent, statuses, self.check, self.excused),
        )
        said = run(command, seconds=seconds + 2 * TIMEOUT)
        return self._judge(json.loads(said.splitlines()[-1]))

    def _judge(self, found: Done) -> Done:
        what = self.url + self.questions[0].path
        if not self.is_kept:
            # A server that closes without saying so beforehand is an error to wrk.
            found["read"] = max(0, found["read"] - found["requests"])
        if self.check == "length":
            found["wrong"] = found["refused"]  # Nothing else was looked at.
        kinds = ("connect", "read", "write", "timeout", "wrong")
        errors = [f"{found[kind]} {kind}" for kind in kinds if found[kind]]
        if errors or not (found["bytes"] or self.excused):
            raise ProgramError(
                f"{what}: of {found['requests']} answers, wrk finds"
                f" {', '.join(errors) or 'nothing'} {found['came']}"
            )
        return found


def measure(
    who: Contestant, work: Work, seconds: int, folder: Path
) -> tuple[Done, float]:
    """Return what came, and for how many seconds of a core somebody was busy."""
    before = who.processor_seconds() if who.process else 0
    done = work.run(seconds, folder)
    return done, who.processor_seconds() - before if who.process else 0


@dataclass(frozen=True, slots=True)
class Client:
    """What asks somebody for an image."""

    site: Site
    who: Contestant
    alias: str

    @property
    def name(self) -> str:
        """What the image is called there: its alias, or its location."""
        return self.alias if self.who.is_ours else self._image.repository

    @property
    def _image(self) -> Image:
        return self.site.images[self.alias]

    def plain(self, path: str, status: int) -> Work:
        """Return the work of asking without a token."""
        return Work(self.who.url, [Question(path, {}, status)], "status")

    def token(self) -> Work:
        """Return the work of asking for a token, as the same user each time."""
        scope = f"repository:{self.name}:pull"
        service = self.site.cloud.issuer.audience
        path = f"{TOKEN_PATH}?{urlencode({'service': service, 'scope': scope})}"
        headers = basic(self.site.cloud.keys["carol"])
        url = self.who.url if self.who.is_ours else self.site.api
        return Work(url, [Question(path, headers)], 'has="token"')

    def manifest(self) -> Work:
        """Return the work of asking for a manifest by its tag."""
        headers = ACCEPT | self._bearer()
        question = Question(f"/v2/{self.name}/manifests/latest", headers)
        content = ask(self.who.url, question, self._image.digest)
        file = self.site.folder / f"body-{self.who.port}"
        file.write_bytes(content)
        return Work(self.who.url, [question], f"same={file}")

    def blob(self) -> Work:
        """Return the work of asking for the largest blob, which is streamed."""
        digest = max(self._image.blobs, key=lambda blob: len(blob.content)).digest
        question = Question(f"/v2/{self.name}/blobs/{digest}", self._bearer())
        ask(self.who.url, question, digest)
        return Work(self.who.url, [question], "length")

    def pull(self) -> Work:
        """Return the work of all requests of a pull whose blobs are redirected."""
        parts = (self.plain("/v2/", 401), self.token(), self.manifest())
        first = [question for part in parts for question in part.questions]
        headers = first[-1].headers
        paths = [f"/v2/{self.name}/blobs/{blob.digest}" for blob in self._image.blobs]
        blobs = [Question(path, headers, 307) for path in paths]
        return Work(self.who.url, [*first, *blobs], "status")

    def _bearer(self) -> dict[str, str]:
        """Return the header with a token for the image."""
        work = self.token()
        token = json.loads(ask(work.url, work.questions[0]))["token"]
        return {"Authorization": f"Bearer {token}"}


def skopeo_copy(name: str, key: str, folder: Path) -> Command:
    """Return the command that pulls to `copy` in a folder, and verifies the blobs."""
    return [
        *_skopeo(folder),
        *("copy", "--quiet", "--all", "--src-tls-verify=false"),
        *("--src-creds", f"u:{key}", f"docker://{name}:latest", f"dir:{folder}/copy"),
    ]


def skopeo_inspect(name: str, key: str, folder: Path) -> Command:
    """Return the command that shows what an image is, and what tags it has."""
    words = ("inspect", "--tls-verify=false", "--creds", f"u:{key}")
    return [*_skopeo(folder), *words, f"docker://{name}:latest"]


def _skopeo(folder: Path) -> Command:
    """Return skopeo, with a folder that is home to it."""
    variables = (f"{name}={folder}" for name in ("HOME", "XDG_RUNTIME_DIR", "TMPDIR"))
    return ["env", *variables, find("skopeo")]


def fetch(url: str, headers: Mapping[str, str]) -> requests.Response:
    """Return an answer, whichever it is."""
    with requests.Session() as session:
        session.trust_env = False
        session.verify = False
        return session.get(url, headers={**headers}, timeout=TIMEOUT)


def ask(url: str, question: Question, digest: str = "") -> bytes:
    """Return the content of an answer, once it is seen to be right."""
    what = url + question.path
    answer = fetch(what, question.headers)
    if answer.status_code != question.status:
        raise ProgramError(f"{what}: {answer.status_code}, not {question.status}")
    if digest and digest != digest_of(answer.content):
        raise ProgramError(f"{what}: {digest_of(answer.content)} came")
    return answer.content


def digest_of(content: bytes | bytearray) -> str:
    """Return the digest of content."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def basic(key: str) -> dict[str, str]:
    """Return the header with a login."""
    return {"Authorization": f"Basic {b64encode(f'u:{key}'.encode()).decode()}"}


def time_command(command: Command, folder: Path) -> float:
    """Return how many seconds hyperfine finds that a command takes."""
    found = folder / "hyperfine.json"
    text = shlex.join(map(str, command))
    run([find("hyperfine"), "--runs", "1", "--export-json", found, text])
    seconds: float = json.loads(found.read_text())["results"][0]["mean"]
    return seconds
