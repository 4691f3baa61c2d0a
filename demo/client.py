"""A container client small enough to read: it pulls one image, and shows how.

It does what docker and the others do, and shows each step:
https://distribution.github.io/distribution/spec/auth/token/
"""

import hashlib
import json
from collections.abc import Callable
from itertools import count
from typing import Any

import requests

from resolver.grammar.challenge import Challenge, parse_challenge
from resolver.grammar.scope import Scope
from resolver.token.claims import parse_token, read_claims

MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
TIMEOUT = 15
"""Seconds, as docker has it."""
_CHUNK = 1 << 18
_BAR = 24


class PullError(RuntimeError):
    """The pull failed; the message is what the registry said, or what is wrong."""


class Client:
    """Pulls from one registry, and says each step through `tell`."""

    def __init__(
        self, url: str, tell: Callable[[str], None], key: str | None = None
    ) -> None:
        self._url = url
        self._login = None if key is None else ("me", key)
        self._tell = tell
        self._steps = count(1)
        self._session = requests.Session()
        self._session.trust_env = False

    def pull(self, name: str) -> int:
        """Pull the image with the name and return how many bytes its blobs had.

        Raises:
            PullError: an answer is not as it should be.

        """
        with self._session:
            challenge = self._challenge(name)
            self._log_in(name, challenge)
            manifest = self._manifest(name, "latest")
            self._step("ask for the blobs, and check each against its digest")
            blobs = [manifest["config"], *manifest["layers"]]
            return sum(self._blob(name, blob["digest"], blob["size"]) for blob in blobs)

    def _step(self, text: str) -> None:
        self._tell(f"{next(self._steps)}. {text}")

    def _challenge(self, name: str) -> Challenge:
        path = f"/v2/{name}/manifests/latest"
        answer = self._get(path, expected=401)
        challenge = parse_challenge(answer.headers.get("WWW-Authenticate", ""))
        if challenge is None:
            raise PullError(f"{path} is answered without a Bearer challenge")
        self._step(f"ask for the manifest, without a token\n     GET {path}")
        self._tell("   401, and the challenge says where to get one")
        self._tell(f"     realm   {challenge.realm}\n     service {challenge.service}")
        self._tell(f"     scope   {challenge.scope}")
        return challenge

    def _log_in(self, name: str, challenge: Challenge) -> None:
        scope = challenge.scope or str(Scope(name))
        answer = self._session.get(
            challenge.realm,
            params={"service": challenge.service, "scope": scope},
            auth=self._login,
            timeout=TIMEOUT,
        )
        _check(answer, 200)
        text = answer.json()["token"]
        self._session.headers["Authorization"] = f"Bearer {text}"
        token = parse_token(text)
        self._step(f"ask for a token with that scope\n     GET {challenge.realm}")
        self._tell(
            f"   200, a token for {read_claims(token.jwt).expires_in} seconds, which"
            " carries what the proxy found"
        )
        for alias, candidates in token.aliases.candidates.items():
            for location in candidates.locations:
                self._tell(f"     alias    {alias}\n     location {location}")
        for refusal in token.aliases.refusals.values():
            self._tell(f"     refusal  {refusal.message}")

    def _manifest(self, name: str, reference: str) -> dict[str, Any]:
        path = f"/v2/{name}/manifests/{reference}"
        accept = ", ".join(MANIFEST_TYPES + INDEX_TYPES)
        answer = self._get(path, accept=accept)
        digest = f"sha256:{hashlib.sha256(answer.content).hexdigest()}"
        promise = answer.headers.get("Docker-Content-Digest")
        if promise != digest or reference not in (digest, "latest"):
            raise PullError(f"the manifest is {digest}, and not as promised")
        media_type = answer.headers.get("Content-Type", "")
        self._step(f"ask for the manifest, with the token\n     GET {path}")
        self._tell(f"   200, {media_type}\n     digest  {digest}, checked")
        manifest: dict[str, Any] = json.loads(answer.content)
        if media_type in INDEX_TYPES:
            return self._manifest(name, manifest["manifests"][0]["digest"])
        return manifest

    def _blob(self, name: str, digest: str, size: int) -> int:
        sha256 = hashlib.sha256()
        count = 0
        with self._get(f"/v2/{name}/blobs/{digest}", stream=True) as answer:
            for chunk in answer.iter_content(_CHUNK):
                sha256.update(chunk)
                count += len(chunk)
                self._tell(_progress(digest, count, size) + "\r")
        if f"sha256:{sha256.hexdigest()}" != digest:
            raise PullError(f"the bytes of {digest} have another digest")
        self._tell(_progress(digest, count, size) + " checked")
        return count

    def _get(
        self,
        path: str,
        *,
        expected: int = 200,
        accept: str = "*/*",
        stream: bool = False,
    ) -> requests.Response:
        answer = self._session.get(
            self._url + path,
            headers={"Accept": accept},
            stream=stream,
            timeout=TIMEOUT,
        )
        return _check(answer, expected)


def _check(answer: requests.Response, expected: int) -> requests.Response:
    """Return the answer, or raise what the registry said instead."""
    if answer.status_code == expected:
        return answer
    try:
        error = answer.json()["errors"][0]
        reason = f"{error['code']}: {error['message']}"
    except (ValueError, LookupError, TypeError):
        reason = answer.text[:200]
    raise PullError(f"{answer.status_code} {reason}")


def _progress(digest: str, count: int, size: int) -> str:
    part = count / size if size else 1.0
    bar = "#" * round(part * _BAR)
    return f"     {digest[7:19]} [{bar:<{_BAR}}] {count / 1e6:8.3f} MB"
