"""Decides what a client asks for, one request after the other."""

from dataclasses import dataclass, replace
from http import HTTPStatus
from urllib.parse import urlencode

from localcloud.image import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from resolver.grammar.challenge import TOKEN_PATH
from resolver.grammar.endpoint import PING_PATH

ACCEPT = ", ".join((DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST))
TOKEN_PLACE = b"<token>"
"""Stands in a request for the token that came last."""
SENT_FOR_A_TOKEN = HTTPStatus.UNAUTHORIZED
_BEARER = f"Authorization: Bearer {TOKEN_PLACE.decode()}"


@dataclass(frozen=True, slots=True)
class Step:
    """A request, and the status of the answer that it has to get."""

    request: bytes
    expected: HTTPStatus = HTTPStatus.OK
    gives_token: bool = False


type Visit = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """An image that is pulled, by an alias that anybody may pull."""

    alias: str
    version: str
    digest: str
    blobs: tuple[str, ...]
    """The digests of config and layers."""
    length: int
    """Bytes of all blobs together."""
    location: str
    """Where it is stored, for those who do not know aliases."""

    @property
    def versioned_alias(self) -> str:
        """The alias of exactly this release."""
        return f"{self.alias}/{self.version}"


def ask_ping(host: str) -> Step:
    """Ask for what the proxy answers without a thought."""
    return Step(_request("GET", PING_PATH, host))


def ask_base(host: str) -> Step:
    """Ask without a token, as every client does first, and be sent for one."""
    return Step(_request("GET", "/v2/", host), SENT_FOR_A_TOKEN)


def ask_token(host: str, alias: str) -> Step:
    """Ask for a token for pulling from a repository."""
    query = urlencode({"scope": f"repository:{alias}:pull", "service": "bench"})
    return Step(_request("GET", f"{TOKEN_PATH}?{query}", host), gives_token=True)


def ask_manifest(
    host: str, alias: str, reference: str = "latest", *, method: str = "GET"
) -> Step:
    """Ask for a manifest."""
    path = f"/v2/{alias}/manifests/{reference}"
    return Step(_request(method, path, host, _BEARER, f"Accept: {ACCEPT}"))


def ask_blob(host: str, alias: str, digest: str, *, is_redirected: bool) -> Step:
    """Ask for a blob; where it is stored elsewhere, learn where."""
    status = HTTPStatus.TEMPORARY_REDIRECT if is_redirected else HTTPStatus.OK
    return Step(_request("GET", f"/v2/{alias}/blobs/{digest}", host, _BEARER), status)


def with_token(step: Step, token: str) -> Step:
    """Return the step with a token that is there already."""
    return replace(step, request=step.request.replace(TOKEN_PLACE, token.encode()))


def pull(host: str, wanted: Wanted, *, is_redirected: bool) -> Visit:
    """Pull an image as docker 20.10 does where it has none of its layers."""
    return (
        ask_base(host),
        ask_token(host, wanted.alias),
        ask_manifest(host, wanted.alias, method="HEAD"),
        ask_manifest(host, wanted.alias, wanted.digest),
        *(
            ask_blob(host, wanted.alias, digest, is_redirected=is_redirected)
            for digest in wanted.blobs
        ),
    )


def _request(method: str, path: str, host: str, *headers: str) -> bytes:
    lines = (f"{method} {path} HTTP/1.1", f"Host: {host}", *headers)
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()
