"""Decides how a client asks the proxy, and sees that every answer is noted."""

import json
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from random import Random
from threading import Event
from urllib.parse import urlencode

import requests

from localcloud.image import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from resolver.grammar.challenge import TOKEN_PATH
from soak.fault import Part
from soak.outcome import (
    BROKEN,
    CLOSED,
    FAILURES,
    PATIENCE_SECONDS,
    SILENT,
    Exchange,
    Outcome,
    Question,
    Tally,
)
from soak.reply import Check, Reply, said, wrong_digest
from soak.scene import Scene

API = frozenset({Part.API})
REGISTRY = frozenset({Part.REGISTRY})
BOTH = API | REGISTRY
ACCEPT = ", ".join((DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST))
BLOB_FAILURES = FAILURES | {BROKEN}
CHUNK = 1 << 18


class Ended(Exception):
    """What came is nothing to go on with; it has been noted."""


class Client:
    """One of many; what it does is up to chance, and to its behaviours."""

    def __init__(self, scene: Scene, tally: Tally, chance: Random, over: Event) -> None:
        self.scene = scene
        self.tally = tally
        self.chance = chance
        self.over = over
        """Set when there is no time left for anything new."""
        self._session = _session()

    def reconnect(self) -> None:
        """Go on with a new connection."""
        self._session.close()
        self._session = _session()

    def close(self) -> None:
        """Let go of the connection."""
        self._session.close()

    def happens(self, often: float) -> bool:
        """Return true so often, of one time."""
        return self.chance.random() < often

    def rest(self, seconds: float) -> None:
        """Do nothing for so long, or until it is over."""
        self.over.wait(seconds)

    def note(
        self,
        question: Question,
        began: float,
        came: str,
        *,
        defect: str = "",
        length: int = 0,
    ) -> None:
        """Hand in what came.

        Raises:
            Ended: it is not what was expected.

        """
        exchange = Exchange(question, came, began, time.monotonic(), defect, length)
        verdict = self.tally.note(exchange)
        if verdict.outcome in (Outcome.FAILED, Outcome.UNEXPLAINED):
            raise Ended

    def ask(
        self,
        question: Question,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        login: tuple[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        check: Check | None = None,
    ) -> Reply:
        """Send what the question says, in full, and return the answer.

        Raises:
            Ended: it is not what was expected.

        """
        method = question.asked.partition(" ")[0]
        began = time.monotonic()
        came, reply = CLOSED, None
        try:
            with ExitStack() as stack:
                answer = self._session.request(
                    method,
                    self.scene.url + path,
                    headers=headers,
                    auth=login,
                    data=form,
                    stream=True,
                    timeout=PATIENCE_SECONDS,
                    allow_redirects=False,
                )
                stack.enter_context(answer)
                came = BROKEN
                content = b"".join(answer.iter_content(CHUNK))
                reply = Reply(answer.status_code, answer.headers, content)
                came = said(reply, method)
        except requests.Timeout:
            came = SILENT
        except requests.RequestException as error:
            came = SILENT if "timed out" in str(error) else came
        if reply is None:
            self.note(question, began, came)
            raise Ended
        is_expected = check is not None and came in question.expected
        defect = check(reply) if check and is_expected else ""
        self.note(question, began, came, defect=defect, length=len(reply.content))
        return reply

    def get_token(
        self,
        *names: str,
        login: tuple[str, str] | None = None,
        expected: str = "200",
        is_form: bool = False,
    ) -> str:
        """Return a token for pulling from the repositories; a form is OAuth2's."""
        scopes = [("scope", f"repository:{name}:pull") for name in names]
        if is_form:
            user, key = login or ("", "")
            form = {
                "grant_type": "password",
                "service": "soak",
                "username": user,
                "password": key,
                "scope": " ".join(scope for _, scope in scopes),
            }
            question = Question(f"POST {TOKEN_PATH} for {names}", (expected,), API)
            reply = self.ask(question, TOKEN_PATH, form=form, check=_has_token)
        else:
            path = f"{TOKEN_PATH}?{urlencode(scopes)}"
            question = Question(f"GET {TOKEN_PATH} for {names}", (expected,), API)
            reply = self.ask(question, path, login=login, check=_has_token)
        if reply.status != requests.codes.ok:
            return ""
        token: str = json.loads(reply.content)["token"]
        return token

    def get_manifest(
        self,
        name: str,
        token: str,
        reference: str = "latest",
        *,
        method: str = "GET",
        expected: str = "200",
        needs: Iterable[Part] = REGISTRY,
        check: Check | None = None,
    ) -> Reply:
        """Return a manifest, or how it is refused."""
        path = f"/v2/{name}/manifests/{reference}"
        headers = {"Accept": ACCEPT, "Authorization": f"Bearer {token}"}
        question = Question(f"{method} {path}", (expected,), frozenset(needs))
        return self.ask(question, path, headers=headers, check=check)

    def get_blob(
        self,
        name: str,
        token: str,
        digest: str,
        *,
        part: str = "",
        expected: str = "200",
        check: Check | None = None,
    ) -> Reply:
        """Return a blob, or a part of it; the digest of a whole one is verified."""
        path = f"/v2/{name}/blobs/{digest}"
        headers = {"Authorization": f"Bearer {token}"}
        if part:
            headers["Range"] = part
        question = Question(
            f"GET {path} {part}".strip(), (expected,), REGISTRY, BLOB_FAILURES
        )
        if check is None and expected == "200":
            check = lambda reply: wrong_digest(reply.content, digest)  # noqa: E731
        return self.ask(question, path, headers=headers, check=check)


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    return session


def _has_token(reply: Reply) -> str:
    """Return what is wrong with the answer to a token request; errors have no token."""
    if reply.status != requests.codes.ok:
        return ""
    try:
        is_there = isinstance(json.loads(reply.content)["token"], str)
    except (ValueError, LookupError, TypeError):
        is_there = False
    return "" if is_there else "no token in it"
