"""The registry: images to read, for clients whose token allows it.

```
/v2/                                  200 with any valid token
/v2/<name>/manifests/<tag or digest>
/v2/<name>/blobs/<digest>             with ranges, or a redirect to storage
/v2/<name>/tags/list                  all of them
/v2/<name>/referrers/<digest>         docker-registry 2.8 has none
```

Challenges and error bodies are docker-registry's. Beside it this falls short in
pushing, and in choosing a manifest by the ``Accept`` header.
https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

import json
import re
from collections.abc import Callable

from localcloud.content import serve_content
from localcloud.image import OCI_INDEX, Image, Manifest, descriptor
from localcloud.issuer import InvalidTokenError, Issuer
from localcloud.server import Header, Request, Response

_PATH = re.compile(
    r"""
    /v2/
    (?P<name>[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*)
    /(?P<kind>manifests|blobs|tags|referrers)
    /(?P<reference>[A-Za-z0-9_+.:-]+)
    """,
    re.VERBOSE,
)
_VERSION = ("Docker-Distribution-Api-Version", "registry/2.0")
_JSON = ("Content-Type", "application/json; charset=utf-8")


class _Repository:
    def __init__(self) -> None:
        self.manifests: dict[str, Manifest] = {}
        self.tags: dict[str, Manifest] = {}
        self.blobs: dict[str, bytes] = {}


class Registry:
    """Repositories, guarded by the issuer's tokens.

    ``redirect`` makes a storage URL from a digest; without it blobs are served
    right here.
    """

    def __init__(
        self, issuer: Issuer, realm: str, redirect: Callable[[str], str] | None = None
    ) -> None:
        self._issuer = issuer
        self._realm = realm
        self._redirect = redirect
        self._repositories: dict[str, _Repository] = {}

    def add(self, image: Image) -> None:
        """Take in an image."""
        repository = self._repositories.setdefault(image.repository, _Repository())
        repository.blobs |= {blob.digest: blob.content for blob in image.blobs}
        repository.manifests |= {m.digest: m for m in image.manifests}
        repository.tags |= {m.tag: m for m in image.manifests if m.tag}

    def __call__(self, request: Request) -> Response:
        """Answer a request."""
        match = _PATH.fullmatch(request.path)
        if match is None and request.path != "/v2/":
            content_type = ("Content-Type", "text/plain")
            return Response(404, (content_type, _VERSION), b"404 page not found\n")
        name = match["name"] if match else None
        refusal = self._refusal(request, name)
        if refusal is not None:
            return refusal
        if match is None:
            return Response(200, (_JSON, _VERSION), b"{}")
        return self._read(request, match)

    def _read(self, request: Request, match: re.Match[str]) -> Response:
        repository = self._repositories.get(match["name"], _Repository())
        reference = match["reference"]
        match match["kind"]:
            case "manifests":
                return _manifest(repository, match["name"], reference)
            case "blobs":
                return self._blob(request, repository, reference)
            case "tags":
                tags = {"name": match["name"], "tags": sorted(repository.tags)}
                return Response(200, (_JSON, _VERSION), _dump(tags))
            case _:
                return _referrers(repository, reference)

    def _refusal(self, request: Request, name: str | None) -> Response | None:
        """Return the challenge to a request that may not go on."""
        scheme, _, token = (request.header("Authorization") or "").partition(" ")
        error = ""
        if scheme.lower() == "bearer":
            try:
                access = self._issuer.verify(token)
            except InvalidTokenError:
                error = "invalid_token"
            else:
                if name is None or any(
                    item.name == name and "pull" in item.actions for item in access
                ):
                    return None
                error = "insufficient_scope"
        challenge = f'Bearer realm="{self._realm}",service="{self._issuer.audience}"'
        if name is not None:
            challenge += f',scope="repository:{name}:pull"'
        if error:
            challenge += f',error="{error}"'
        detail = {"Type": "repository", "Class": "", "Name": name, "Action": "pull"}
        return _error(
            401,
            "UNAUTHORIZED",
            "authentication required",
            [detail] if name else None,
            ("Www-Authenticate", challenge),
        )

    def _blob(self, request: Request, repository: _Repository, digest: str) -> Response:
        content = repository.blobs.get(digest)
        if content is None:
            return _error(404, "BLOB_UNKNOWN", "blob unknown to registry", digest)
        if self._redirect is not None:
            location = ("Location", self._redirect(digest))
            return Response(307, (location, _VERSION))
        headers = (
            ("Content-Type", "application/octet-stream"),
            ("Docker-Content-Digest", digest),
            ("Cache-Control", "max-age=31536000"),
            ("Etag", f'"{digest}"'),
            _VERSION,
        )
        return serve_content(request, content, headers)


def _manifest(repository: _Repository, name: str, reference: str) -> Response:
    if ":" in reference:
        manifest = repository.manifests.get(reference)
        detail = {"Name": name, "Revision": reference}
    else:
        manifest = repository.tags.get(reference)
        detail = {"Tag": reference}
    if manifest is None:
        return _error(404, "MANIFEST_UNKNOWN", "manifest unknown", detail)
    headers = (
        ("Content-Type", manifest.media_type),
        ("Docker-Content-Digest", manifest.digest),
        ("Etag", f'"{manifest.digest}"'),
        _VERSION,
    )
    return Response(200, headers, manifest.content)


def _referrers(repository: _Repository, digest: str) -> Response:
    referrers = []
    for manifest in repository.manifests.values():
        fields = json.loads(manifest.content)
        if fields.get("subject", {}).get("digest") == digest:
            artifact = {"artifactType": fields["artifactType"]}
            referrers.append({**descriptor(manifest), **artifact})
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": referrers}
    return Response(200, (("Content-Type", OCI_INDEX), _VERSION), _dump(index))


def _error(
    status: int, code: str, message: str, detail: object, *headers: Header
) -> Response:
    body = {"errors": [{"code": code, "message": message, "detail": detail}]}
    return Response(status, (_JSON, _VERSION, *headers), _dump(body) + b"\n")


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
