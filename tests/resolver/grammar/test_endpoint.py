"""A path leads to an endpoint by the grammar, or nowhere."""

import re

import pytest

from resolver.errors import EndpointUnknown, MethodNotAllowed, NameInvalid
from resolver.grammar.endpoint import (
    Base,
    Content,
    Endpoint,
    Ping,
    Ready,
    TokenEndpoint,
    own_names,
    parse_endpoint,
    parse_namespace,
)
from tests.resolver.fake import DIGEST, LOCATION, ident

ENDPOINTS: dict[str, Endpoint] = {
    "/ping?x=1": Ping(),
    "/ready?x=1": Ready(),
    "/auth/v1/token": TokenEndpoint(""),
    "/auth/v1/token?a?b=c%3Ad": TokenEndpoint("a?b=c%3Ad"),
    "/v2": Base(),
    "/v2/?ns=x": Base(),
}
CONTENT = {
    "/v2/org/app/2.3.8/manifests/2.3.8": ("org/app/2.3.8", "manifests", "2.3.8"),
    f"/v2/org/app/manifests/{DIGEST}": ("org/app", "manifests", DIGEST),
    "/v2/org/app/manifests/sha256-00.sig": ("org/app", "manifests", "sha256-00.sig"),
    f"/v2/{LOCATION}/blobs/{DIGEST}": (LOCATION, "blobs", DIGEST),
    f"/v2/org/app/referrers/{DIGEST}": ("org/app", "referrers", DIGEST),
    "/v2/app/tags/list": ("app", "tags", None),
    "/v2/a/b/c/d/e/tags/list": ("a/b/c/d/e", "tags", None),
    "/v2/org/tags/list/tags/list": ("org/tags/list", "tags", None),
    "/v2/a/manifests/b/manifests/c": ("a/manifests/b", "manifests", "c"),
    "/v2/manifests/manifests/manifests": ("manifests", "manifests", "manifests"),
}
MALFORMED = [
    *("/v2//", "/v2/org", "/v2/org/app/", "/v2/manifests/latest"),
    *("/v2/org/app/manifests/latest/", "/v2/org//app/manifests/latest"),
    *("/v2/org/../app/manifests/latest", "/v2/org/app/manifests/.."),
    *("/v2/org%2Fapp/manifests/latest", "/v2/org/app/manifests/latest\n"),
    *("/v2/org/app\udcff/manifests/latest", "/v2/Org/app/manifests/latest"),
    *("/v2/org/app:1/manifests/latest", f"/v2/{'a' * 300}/manifests/latest"),
    *(f"/v2/org/app/manifests/{'a' * 129}", "/v2/org/app/manifests/sha256:00"),
    *("/v2/org/app/blobs/uploads/", "/v2/org/app/referrers/latest"),
    *("/v2/org/app/tags/latest", "/v2/org/app/Manifests/latest"),
]
ELSEWHERE = [
    *("", "/", "/v2x", "//v2/", "v2/", "/ping/", "/../v2/", "/auth/v1/token/"),
    *("/\0", "http://registry2.example.com/v2/", "/" + "x" * 5000),
]


@pytest.mark.parametrize(("path", "target"), ENDPOINTS.items(), ids=ENDPOINTS)
def test_endpoint(path: str, target: Endpoint) -> None:
    """The endpoints of design section 4 are found, whatever their query."""
    assert parse_endpoint("GET", path) == target


@pytest.mark.parametrize(("path", "parts"), CONTENT.items(), ids=CONTENT)
def test_content(path: str, parts: tuple[str, str, str | None]) -> None:
    """Under /v2/ the last components say what of which repository is asked for."""
    content = parse_endpoint("GET", path)
    assert isinstance(content, Content)
    assert (content.name, content.kind, content.reference) == parts
    assert content.path == path
    assert parse_endpoint("HEAD", path) == content


@pytest.mark.parametrize("path", MALFORMED, ids=ident)
def test_malformed_path(path: str) -> None:
    """A malformed path is NAME_INVALID and goes nowhere (R6)."""
    with pytest.raises(NameInvalid) as caught:
        parse_endpoint("GET", path)
    message = caught.value.message
    assert message.isascii()
    assert message.isprintable()
    assert len(message) < 500


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("manifests/a!+b", "'a!+b' is not a tag or a digest;"),
        ("manifests/2.3.8+rev1", "'2.3.8+rev1' has a +, which no reference"),
        ("manifests/2.3.8%2Brev1", "write _, as in '2.3.8_rev1'"),
        ("2.3.8+rev1/manifests/latest", "_, as in 'org/app/2.3.8_rev1'"),
        ("blobs/a+b", "not a digest;"),
    ],
)
def test_malformed_reference_is_explained(path: str, message: str) -> None:
    """Where a tag will do the message says so."""
    with pytest.raises(NameInvalid) as caught:
        parse_endpoint("GET", f"/v2/org/app/{path}")
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [
        ("PUT", "/v2/a/manifests/x", "serves pulls only; push to the registry r.io:5 "),
        ("GET", "/v2/a/manifests", "/v2/<repository>/manifests/<tag>"),
        ("GET", "/v2/A/manifests/x", "as in library/alpine"),
    ],
)
def test_own_names_are_told_in_their_words(method: str, path: str, words: str) -> None:
    """Where names are the registry's, no message speaks of releases."""
    with pytest.raises((MethodNotAllowed, NameInvalid)) as caught:
        parse_endpoint(method, path, own_names("r.io:5"))
    message = caught.value.message
    assert words in message
    assert not any(word in message for word in ("release", "balena", "<org>"))


@pytest.mark.parametrize("path", ELSEWHERE, ids=ident)
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_nothing_is_served_elsewhere(method: str, path: str) -> None:
    """Whatever is no endpoint is unknown, for any method."""
    with pytest.raises(EndpointUnknown) as caught:
        parse_endpoint(method, path)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 500


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/ping", "GET, HEAD"),
        ("POST", "/ready", "GET, HEAD"),
        ("PUT", "/auth/v1/token?x", "GET, POST"),
        ("POST", "/v2/org/app/blobs/uploads/", "GET, HEAD"),
        ("PUT", "/v2/../x", "GET, HEAD"),
        ("get", "/v2/", "GET, HEAD"),
        ("G\r\nT" * 99, "/v2/", "GET, HEAD"),
    ],
    ids=ident,
)
def test_method_is_refused(method: str, path: str, allowed: str) -> None:
    """Pushes, deletions and the like are 405 with the methods that work (R5, R11)."""
    with pytest.raises(MethodNotAllowed) as caught:
        parse_endpoint(method, path)
    assert caught.value.headers == (("Allow", allowed),)
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("tags/list?last=a%2Fb+c", "last=a%2Fb+c"),
        ("tags/list?n=1&ns=x&n=2", "n=1&n=2"),
        ("tags/list?artifactType=x", ""),
        ("tags/list?last=%0d%0aX:y", "last=%0D%0AX%3Ay"),
        ("tags/list?last=\udcc3\udca9%ff", "last=%C3%A9%FF"),
        ("tags/list?last=a;n=9#f", "last=a%3Bn%3D9%23f"),
        (f"blobs/{DIGEST}?ns=docker.io&n=1", ""),
        (f"referrers/{DIGEST}?artifactType=a/b%2Bc", "artifactType=a%2Fb%2Bc"),
    ],
    ids=ident,
)
def test_query(path: str, query: str) -> None:
    """Only the parameters of the specification go upstream, encoded anew."""
    content = parse_endpoint("GET", f"/v2/org/app/{path}")
    assert isinstance(content, Content)
    assert content.query == query
    bare = re.sub(r"\?.*", "", f"/v2/org/app/{path}", flags=re.DOTALL)
    assert content.path == (f"{bare}?{query}" if query else bare)


@pytest.mark.parametrize(
    ("path", "namespace"),
    [
        ("/v2/a/b/manifests/x?ns=docker.io", "docker.io"),
        ("/v2/a/b/manifests/x?x=1&ns=r.example%3A5000", "r.example:5000"),
        ("/v2/a/b/manifests/x?ns=a%0ab&ns=c", "a\\nb"),
        ("/v2/a/b/manifests/x?tns=docker.io", ""),
        ("/v2/a/b/manifests/ns=docker.io", ""),
        (f"/v2/?{'x' * 300}&ns=docker.io", ""),
    ],
    ids=ident,
)
def test_namespace(path: str, namespace: str) -> None:
    """A client of a mirror names its registry; what is far behind is not read."""
    assert parse_namespace(path) == namespace
