"""The storage of blobs, to which the registry redirects with signed URLs.

Like S3, it wants no other proof than the URL's signature, and refuses requests
that bring one.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from urllib.parse import parse_qs

from localcloud.content import serve_content
from localcloud.server import Request, Response

_LIFETIME_SECONDS = 1_200


class Storage:
    """Blobs by digest, of all repositories."""

    def __init__(self, url: str, clock: Callable[[], float]) -> None:
        self._url = url
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._blobs: dict[str, bytes] = {}

    def add(self, digest: str, content: bytes) -> None:
        """Take in a blob."""
        self._blobs[_path(digest)] = content

    def signed_url(self, digest: str) -> str:
        """Return a URL that gives the blob for a while."""
        path = _path(digest)
        expires = str(int(self._clock()) + _LIFETIME_SECONDS)
        return (
            f"{self._url}{path}?Expires={expires}&Signature={self._sign(path, expires)}"
        )

    def __call__(self, request: Request) -> Response:
        """Answer a request."""
        if request.header("Authorization") is not None:
            return _refusal(
                400,
                "InvalidArgument",
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query"
                " parameter, Signature query string parameter or the Authorization"
                " header should be specified",
            )
        parameters = parse_qs(request.query)
        expires = parameters.get("Expires", ["0"])[0]
        signature = parameters.get("Signature", [""])[0]
        is_signed = hmac.compare_digest(
            signature.encode(), self._sign(request.path, expires).encode()
        )
        if not is_signed:
            return _refusal(
                403,
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you"
                " provided. Check your key and signing method.",
            )
        if float(expires) < self._clock():
            return _refusal(403, "AccessDenied", "Request has expired")
        content = self._blobs[request.path]
        etag = hashlib.md5(content, usedforsecurity=False).hexdigest()
        headers = (
            ("Content-Type", "application/octet-stream"),
            ("ETag", f'"{etag}"'),
        )
        return serve_content(request, content, headers)

    def _sign(self, path: str, expires: str) -> str:
        text = f"{path}?{expires}".encode()
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()


def _path(digest: str) -> str:
    algorithm, _, value = digest.partition(":")
    return f"/docker/registry/v2/blobs/{algorithm}/{value[:2]}/{value}/data"


def _refusal(status: int, code: str, message: str) -> Response:
    """Return an error in S3's words."""
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
    return Response(status, (("Content-Type", "application/xml"),), body)
