"""Stand-ins for registries that cannot be reached from here, by what is known of them.

Each has the challenges, the tokens, the pages and the redirects of blobs in the shape
that its documentation, or somebody who looked, shows. Nothing else of it is claimed. On
each there is a public repository and one for those who know the password; whatever a
stand-in is asked, it remembers.
"""

import base64
import json
import re
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import parse_qs, urlencode

from localcloud.content import serve_content
from localcloud.image import Description, Image, build_image
from localcloud.issuer import Access, Issuer
from localcloud.server import Header, Request, Response, Server

PUBLIC, PRIVATE = "library/hello", "team/deep/down/app"
PASSWORD = "made-up-password-0123456789"
REFRESH = "made-up-refresh-token-0123456789"
TAGS = ("1.0", "1.1", "latest")
SIGNATURE = "X-Amz-Signature=made-up-signature-0123456789"
_JSON = ("Content-Type", "application/json")
_CONTENT = re.compile(
    r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs|tags)/(?P<reference>[^/]+)"
)


@dataclass(frozen=True, slots=True)
class Shape:
    """What is special about a registry."""

    service: str
    """As its challenges have it; none where they have none."""
    realm: str = ""
    """Path of the token endpoint, with its query; none where it takes logins itself."""
    has_own_issuer: bool = False
    """Whether that is on another host."""
    hint: str = ""
    """The scope of the challenge for no repository."""
    is_opaque: bool = False
    """Whether tokens are no JWTs."""
    answer: Callable[[str], Mapping[str, object]] = lambda token: {"token": token}
    """What comes with a token."""
    claims: Mapping[str, object] | None = None
    """What is in a token beside the usual."""
    status: int = 307
    """Of redirects to the storage."""
    later_realm: str = ""
    """The realm in the challenge for a token that is not good, if that is another."""
    page: str = "last"
    """The parameter that leads to the next page of tags."""


def _with_time(token: str) -> Mapping[str, object]:
    issued = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {
        "token": token,
        "access_token": token,
        "expires_in": 300,
        "issued_at": issued,
    }


DOCKER_HUB = Shape(
    "registry.docker.io",
    "/token",
    has_own_issuer=True,
    answer=_with_time,
)
"""registry-1.docker.io, whose tokens are issued at auth.docker.io.

https://docs.docker.com/docker-hub/usage/pulls/ and
https://github.com/goharbor/harbor/issues/22118
"""
GHCR = Shape("ghcr.io", "/token", hint="repository:user/image:pull", is_opaque=True)
"""ghcr.io: a scope that is none, and tokens that say nothing of their time.

https://toddysm.com/2024/02/12/authenticating-with-oci-registries-github-container-registry-ghcr-implementation
"""
ECR = Shape("ecr.amazonaws.com")
"""<account>.dkr.ecr.<region>.amazonaws.com: Basic alone, and blobs on S3.

https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html,
https://github.com/mayflower/docker-ls/issues/28 and
https://gist.github.com/jgsqware/b87ba865c1a0c9225e476592ab8d1cba
"""
HARBOR = Shape(
    "harbor-registry",
    "/service/token",
    answer=lambda token: {**_with_time(token), "access_token": "", "expires_in": 1800},
)
"""Harbor: no token for the catalog.

https://github.com/goharbor/harbor/issues/12192 and
https://github.com/goharbor/harbor/issues/22118
"""
QUAY = Shape("quay.io", "/v2/auth", status=302, page="next_page")
"""quay.io: the token endpoint is below /v2/, and pages have their own parameter.

https://github.com/quay/mirror-registry/issues/71 and
https://github.com/deitch/docker_registry2/issues/56
"""
GITLAB = Shape(
    "container_registry",
    "/jwt/auth",
    has_own_issuer=True,
    claims={"auth_type": "personal_access_token", "user": "eyJhbGciOiJI.eyJ1c2Vy.c2ln"},
)
"""registry.gitlab.com, whose tokens are issued at gitlab.com.

https://gitlab.com/gitlab-org/gitlab-foss/-/issues/26265 and
https://docs.gitlab.com/user/packages/container_registry/authenticate_with_container_registry/
"""
NVCR = Shape("", "/proxy_auth", later_realm="https://authn.test/token")
"""nvcr.io: no service, and another realm in the challenge for a token that is over.

https://github.com/sapcc/keppel/pull/731 and
https://github.com/NVIDIA/nvidia-container-toolkit/issues/1945
"""
ARTIFACTORY = Shape("docker", "/artifacts-auth/docker/jwt?host=made.up")
"""A realm with a query of its own, as one registry behind JFrog's has it.

https://github.com/google/go-containerregistry/issues/757
"""
SHAPES: Mapping[str, Shape] = {
    "Docker Hub": DOCKER_HUB,
    "GHCR": GHCR,
    "ECR": ECR,
    "Harbor": HARBOR,
    "Quay": QUAY,
    "GitLab": GITLAB,
    "nvcr.io": NVCR,
    "Artifactory": ARTIFACTORY,
}


class StandIn:
    """A registry of such a shape, with its token endpoint and its storage."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.registry = Server(public_host="localhost")
        self.storage = Server()
        self.issuer = Server() if shape.has_own_issuer else self.registry
        self.realm = f"{self.issuer.url}{shape.realm}"
        """Where a test may say otherwise."""
        self.images = {name: _image(name) for name in (PUBLIC, PRIVATE)}
        self.tokens: dict[str, frozenset[str]] = {}
        self._keys = Issuer("issuer", shape.service, time.time)
        self.registry.application = self._serve
        self.issuer.application = (
            self._issue if self.issuer is not self.registry else self._serve
        )
        self.storage.application = self._store
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start serving."""
        with ExitStack() as stack:
            for server in {self.registry, self.storage, self.issuer}:
                stack.enter_context(server)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """The registry's."""
        return self.registry.url

    def digest(self, name: str) -> str:
        """Return the digest of the image there."""
        return self.images[name].digest

    @property
    def token_requests(self) -> list[Request]:
        """What the token endpoint was asked."""
        path = self.shape.realm.partition("?")[0]
        return [each for each in self.issuer.requests if each.path == path]

    def _issue(self, request: Request) -> Response:
        """Answer at the token endpoint."""
        texts = [request.query, request.body.decode()]
        fields = parse_qs("&".join(filter(None, texts)), keep_blank_values=True)
        password = fields.get("password", [_password(request)])[0]
        is_known = password == PASSWORD or REFRESH in fields.get("refresh_token", [])
        if (password or "refresh_token" in fields) and not is_known:
            body = {"details": "incorrect username or password"}
            return Response(401, (_JSON,), json.dumps(body).encode())
        scopes = [text for value in fields.get("scope", []) for text in value.split()]
        names = {scope.split(":")[1] for scope in scopes if scope.count(":") == 2}
        granted = frozenset(n for n in names if is_known or n == PUBLIC)
        answer = dict(self.shape.answer(self._token(granted)))
        if "offline_token" in fields or fields.get("access_type") == ["offline"]:
            answer["refresh_token"] = REFRESH
        limits = ("RateLimit-Limit", "100;w=21600"), ("X-Inside", "secret")
        return Response(200, (_JSON, *limits), json.dumps(answer).encode())

    def _token(self, names: frozenset[str]) -> str:
        access = [Access(name, ("pull",)) for name in sorted(names)]
        token = self._keys.issue("", access)
        if self.shape.is_opaque:
            token = base64.b64encode(token[-40:].encode()).decode()
        if self.shape.claims:
            token = _claiming(token, self.shape.claims)
        self.tokens[token] = names
        return token

    def _serve(self, request: Request) -> Response:
        """Answer at the registry."""
        if request.path == self.shape.realm.partition("?")[0]:
            return self._issue(request)
        match = _CONTENT.fullmatch(request.path)
        name = match["name"] if match else ""
        is_no_catalog = self.shape is HARBOR and request.path == "/v2/_catalog"
        if is_no_catalog or not self._may(request, name):
            return self._challenge(request, name)
        if match is None:
            return Response(200, (_JSON,), _dump({"repositories": [PUBLIC, PRIVATE]}))
        if match["kind"] == "tags":
            return self._list(request, name)
        if match["kind"] == "manifests":
            return self._manifest(name, match["reference"])
        place = f"{self.storage.url}/{match['reference']}?{SIGNATURE}"
        return Response(self.shape.status, (("Location", place),))

    def _manifest(self, name: str, reference: str) -> Response:
        for manifest in self.images[name].manifests:
            if reference in (manifest.digest, manifest.tag):
                kinds = ("Content-Type", manifest.media_type)
                digest = ("Docker-Content-Digest", manifest.digest)
                return Response(200, (kinds, digest), manifest.content)
        return _error(404, "MANIFEST_UNKNOWN", "manifest unknown")

    def _may(self, request: Request, name: str) -> bool:
        scheme, _, token = (request.header("Authorization") or "").partition(" ")
        if not self.shape.realm:
            return scheme == "Basic" and _password(request) == PASSWORD
        if scheme != "Bearer" or token not in self.tokens:
            return False
        return not name or name in self.tokens[token]

    def _challenge(self, request: Request, name: str) -> Response:
        shape = self.shape
        scope = f"repository:{name}:pull" if name else shape.hint
        is_bad = request.header("Authorization") is not None
        realm = shape.later_realm if is_bad and shape.later_realm else self.realm
        challenge = f'Bearer realm="{realm}"'
        if shape.service:
            challenge += f',service="{shape.service}"'
        if is_bad:
            token = (request.header("Authorization") or "").partition(" ")[2]
            why = "insufficient_scope" if token in self.tokens else "invalid_token"
            challenge += f',error="{why}"'
        if scope:
            challenge += f',scope="{scope}"'
        if not shape.realm:
            challenge = f'Basic realm="{self.url}/",service="{shape.service}"'
        if shape is HARBOR and request.path == "/v2/_catalog":
            challenge = 'Basic realm="harbor"'
        error = _error(401, "UNAUTHORIZED", "authentication required")
        headers = (*error.headers, ("Www-Authenticate", challenge))
        return Response(401, headers, error.body)

    def _list(self, request: Request, name: str) -> Response:
        """Answer with one tag in each page."""
        last = parse_qs(request.query).get(self.shape.page, [""])[0]
        rest = [tag for tag in TAGS if tag > last]
        body = _dump({"name": name, "tags": rest[:1]})
        more = urlencode({self.shape.page: rest[0], "n": 1})
        link = ("Link", f'<{self.url}/v2/{name}/tags/list?{more}>; rel="next"')
        return Response(200, (_JSON, link) if len(rest) > 1 else (_JSON,), body)

    def _store(self, request: Request) -> Response:
        """Answer at the storage: to its own signature, and to no login."""
        if request.query != SIGNATURE or request.header("Authorization"):
            return Response(400, (("Content-Type", "application/xml"),), b"<Error/>")
        digest = request.path.lstrip("/")
        for image in self.images.values():
            for blob in image.blobs:
                if blob.digest == digest:
                    kind: Header = ("Content-Type", "application/octet-stream")
                    return serve_content(request, blob.content, (kind,))
        return Response(404)


def basic(user: str, password: str) -> str:
    """Return the header of a login."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _password(request: Request) -> str:
    """Return the password of a Basic login, if there is one."""
    scheme, _, value = (request.header("Authorization") or "").partition(" ")
    return (
        base64.b64decode(value).decode().partition(":")[2] if scheme == "Basic" else ""
    )


def _claiming(token: str, claims: Mapping[str, object]) -> str:
    """Return a token with more claims, whose signature nobody looks at."""
    header, payload, signature = token.split(".")
    padded = payload + "=" * (-len(payload) % 4)
    known: dict[str, Any] = json.loads(base64.urlsafe_b64decode(padded))
    text = _dump(known | dict(claims))
    return f"{header}.{base64.urlsafe_b64encode(text).decode().rstrip('=')}.{signature}"


def _image(name: str) -> Image:
    return build_image(Description(name, name, "1.0", "main", ("amd64",), is_oci=True))


def _error(status: int, code: str, message: str) -> Response:
    body = {"errors": [{"code": code, "message": message}]}
    return Response(status, (_JSON,), _dump(body))


def _dump(value: object) -> bytes:
    return json.dumps(value).encode()
