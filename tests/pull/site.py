"""A registry, a token server and a storage, which answer as a test tells them to."""

import base64
import hashlib
import json
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate

import pytest

from cause.finding import Cause
from localcloud.content import serve_content
from localcloud.relay import Relay
from localcloud.server import Request, Response, Server
from pull.client import Client
from pull.connection import Trust
from pull.fault import Fault
from pull.layout import Layout
from pull.login import FindLogin, nobody
from pull.manifest import IMAGES
from pull.reference import parse_reference

NAME = "org/app"
MANIFEST = f"/v2/{NAME}/manifests/latest"
SERVICE = "registry.example"
LAYER = bytes(range(256)) * 1000
CONFIG = b"{}"
MARK = b"Etag"
"""What stands in the head of a blob's answer."""


def digest_of(content: bytes) -> str:
    """Return the digest."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def descriptor(content: bytes, **more: object) -> dict[str, object]:
    """Return the descriptor of a blob."""
    return {"digest": digest_of(content), "size": len(content), **more}


def manifest_of(*layers: bytes) -> bytes:
    """Return the manifest of an image."""
    return json.dumps(
        {
            "schemaVersion": 2,
            "config": descriptor(CONFIG),
            "layers": [descriptor(layer) for layer in layers],
        }
    ).encode()


def jwt_of(claims: dict[str, object]) -> str:
    """Return a token that says so; nobody looks at its signature."""
    text = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"e30.{text}.sig"


def error(status: int, code: str, message: str, *more: tuple[str, str]) -> Response:
    """Return an error as registries answer it."""
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return Response(status, (("Content-Type", "application/json"), *more), body)


def dated(seconds: float) -> tuple[str, str]:
    """Return the header of a clock that is ahead by so much."""
    return ("Date", formatdate(time.time() + seconds, usegmt=True))


@dataclass
class Site:
    """The three, and what they have."""

    registry: Server
    tokens: Server
    storage: Server
    line: Relay
    """Between the client and the storage."""
    manifest: bytes = field(default_factory=lambda: manifest_of(LAYER))
    blobs: dict[str, bytes] = field(
        default_factory=lambda: {digest_of(blob): blob for blob in (CONFIG, LAYER)}
    )
    media_type: str = IMAGES[0]
    claims: dict[str, object] = field(
        default_factory=lambda: {
            "access": [{"type": "repository", "name": NAME, "actions": ["pull"]}]
        }
    )
    challenge: str = ""

    def __post_init__(self) -> None:
        realm = f"{self.tokens.url}/auth/v1/token"
        self.challenge = f'Bearer realm="{realm}",service="{SERVICE}"'
        self.registry.application = self._registry
        self.tokens.application = self._tokens
        self.storage.application = self._storage

    def _registry(self, request: Request) -> Response:
        if request.header("Authorization") is None:
            headers = (("WWW-Authenticate", self.challenge),)
            return error(401, "UNAUTHORIZED", "authentication required", *headers)
        if request.path == "/v2/":
            return Response(200)
        kind, _, version = request.path.removeprefix(f"/v2/{NAME}/").partition("/")
        if kind == "manifests":
            return Response(200, (("Content-Type", self.media_type),), self.manifest)
        url = f"http://127.0.0.1:{self.line.port}/{version}?Signature=hidden"
        return Response(307, (("Location", url),))

    def _tokens(self, _: Request) -> Response:
        body = json.dumps({"token": jwt_of(self.claims), "expires_in": 300})
        return Response(200, (), body.encode())

    def _storage(self, request: Request) -> Response:
        assert request.header("Authorization") is None
        content = self.blobs[request.path.removeprefix("/")]
        return serve_content(request, content, (("Etag", '"1"'),))

    def pull(
        self,
        reference: str = "",
        *,
        find_login: FindLogin = nobody,
        trust: Trust | None = None,
        layout: Layout | None = None,
        is_check: bool = False,
    ) -> list[str]:
        """Pull, and return what was said."""
        said: list[str] = []
        client = Client(
            said.append, find_login=find_login, trust=trust, is_check=is_check
        )
        client.pull(parse_reference(reference or f"{self.registry.url}/{NAME}"), layout)
        return said

    def fault(self, cause: Cause, reference: str = "", **options: object) -> str:
        """Pull in vain, and return why."""
        with pytest.raises(Fault) as caught:
            self.pull(reference, **options)  # type: ignore[arg-type]
        assert caught.value.cause == cause, caught.value
        assert caught.value.advice
        text = str(caught.value)
        assert text.isprintable()
        assert "hidden" not in text
        return text.replace(self.registry.host, "REGISTRY").replace(
            self.tokens.host, "TOKENS"
        )

    def let(self, server: Server, answer: Response, *parts: str) -> None:
        """Let the server answer so where one of the parts is in the target."""

        def interpose(request: Request) -> Response | None:
            whole = [part for part in parts if part in request.target]
            return answer if whole or not parts else None

        server.interpose = interpose

    def let_logged_in(self, make: Callable[[], Response]) -> None:
        """Let the registry answer so to who has a token."""
        self.registry.interpose = lambda r: (
            make() if r.header("Authorization") else None
        )


@contextmanager
def sited(tls: ssl.SSLContext | None = None) -> Iterator[Site]:
    """Run all three; the registry with TLS, if it is told how."""
    with ExitStack() as stack:
        registry = stack.enter_context(Server(tls=tls))
        tokens, storage = (stack.enter_context(Server()) for _ in range(2))
        line = stack.enter_context(Relay(int(storage.host.rpartition(":")[2])))
        yield Site(registry, tokens, storage, line)
