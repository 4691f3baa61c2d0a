"""Whatever stands in a body, there is a text that can be shown, or a clean refusal."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy import contentviews, http

from mitm.story.kind import Kind, Login, Outcome, OwnKind
from mitm.story.record import Record
from mitm.view import VIEWS
from tests.fuzz.profile import FUZZ
from tests.fuzz.strategy import JSON, mutated, mutated_json
from tests.fuzz.test_odata import RELEASES
from tests.fuzz.test_token import CLAIMS, SUFFIXES
from tests.mitm.view.sample import make_flow
from tests.resolver.fake import DIGEST, LOCATION, SLUG, base64url

SIGNATURE = "signature-of-a-token"
LINES_MAX = 4000
"""A body of megabytes takes no more; each list in it has an end of its own."""
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
_DESCRIPTOR = {
    "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
    "size": 1234,
    "digest": DIGEST,
    "platform": {"os": "linux", "architecture": "arm", "variant": "v7"},
    "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
}
DOCUMENTS: list[Any] = [
    {"schemaVersion": 2, "config": _DESCRIPTOR, "layers": [_DESCRIPTOR] * 2},
    {"schemaVersion": 2, "subject": _DESCRIPTOR, "artifactType": "x", "layers": []},
    {"mediaType": OCI_INDEX, "manifests": [_DESCRIPTOR] * 2, "annotations": {"a": "b"}},
    {"errors": [{"code": "DENIED", "message": "no", "detail": [{"Name": "x"}]}]},
    {"d": RELEASES[:3]},
    {"d": [{"slug": SLUG, "owns__release": RELEASES[:2]}]},
    {"d": [{"slug": SLUG, "should_be_running__release": RELEASES[:1]}]},
]
TOKENS = st.one_of(
    st.builds(
        lambda claims, suffix: f"e30.{base64url(claims)}.{SIGNATURE}{suffix}",
        CLAIMS,
        st.just("") | SUFFIXES.map(lambda suffix: f"~{suffix}"),
    )
)
ANSWERS = st.builds(
    lambda token, expires_in: {"token": token, "expires_in": expires_in}, TOKENS, JSON
)
TEXTS = (mutated_json(st.sampled_from(DOCUMENTS)) | mutated_json(ANSWERS)).map(
    json.dumps
)
BODIES = (
    TEXTS | mutated(TEXTS, ('"', "[", "{", "9" * 5000, "\\u0000", "\\ud800", "\0"))
).map(lambda text: text.encode("utf-8", "surrogatepass"))
VALUES = st.sampled_from(Outcome) | st.text(max_size=9) | st.integers() | st.floats()
FACTS = st.dictionaries(
    st.sampled_from([each.name for each in fields(Record)]),
    VALUES | st.lists(st.builds(lambda text: {"alias": text, "tagged": 1}, VALUES)),
    max_size=4,
)


def check(text: str) -> None:
    """Fail unless the text can be shown: lines that print, and not too many."""
    lines = text.split("\n")
    assert all(line.isprintable() for line in lines)
    assert len(lines) <= LINES_MAX
    assert SIGNATURE not in text


@given(BODIES, st.sampled_from(VIEWS))
@FUZZ
def test_body(body: bytes, view: contentviews.Contentview) -> None:
    """A body is shown or refused, whichever view is chosen for it."""
    flow = make_flow(Kind.MANIFEST, body=body)
    metadata = contentviews.Metadata(flow=flow, http_message=flow.response)
    assert view.render_priority(body, metadata) in (-1.0, 10.0)
    for around in (metadata, contentviews.Metadata()):
        with suppress(ValueError):
            check(view.prettify(body, around))


@given(
    st.sampled_from([*Kind, *OwnKind]),
    FACTS,
    st.sampled_from(Login),
    TOKENS | st.text(max_size=9),
    st.binary(max_size=40) | BODIES,
    st.sampled_from(["", "application/x-www-form-urlencoded"]),
)
@FUZZ
def test_request(
    kind: str,
    facts: dict[str, Any],
    login: Login,
    token: str,
    body: bytes,
    content_type: str,
) -> None:
    """A request is always shown, whatever is known of it and whatever it has."""
    path = b"/x?" + body
    flow = make_flow(kind, record={**facts, "kind": kind, "login": login})
    flow.request = http.Request.make("POST", "http://x", body)
    flow.request.headers["Content-Type"] = content_type
    flow.request.data.path = path
    flow.request.headers["Authorization"] = b"Bearer " + token.encode(
        "utf-8", "surrogateescape"
    )
    metadata = contentviews.Metadata(
        flow=flow, http_message=flow.request, content_type=content_type
    )
    view = contentviews.registry.get_view(body, metadata)
    assert view.name == "registry request"
    check(view.prettify(body, metadata))


SIZE = 4 << 20
"""As much of an answer as the proxy holds."""


def filled(begin: str, item: str, end: str) -> bytes:
    """Return a body of that size, with the item as often as it fits."""
    return f"{begin}{item * ((SIZE - len(begin)) // len(item))}{end}".encode()


def large() -> Iterator[tuple[str, str, bytes]]:
    """Yield names, views, and bodies that take long to somebody who is careless."""
    for name, view, begin in (
        ("layers", "manifest", '{"schemaVersion":2,"layers":['),
        ("index", "manifest", '{"schemaVersion":2,"manifests":['),
        ("errors", "error", '{"errors":['),
        ("releases", "releases", '{"d":['),
    ):
        yield f"{name}, many", view, filled(begin, "{},", "1]}")
        yield f"{name}, deep", view, filled(begin, "[", "")
        yield f"{name}, long", view, filled(f'{begin}"', "\\n", '"]}')
        yield f"{name}, number", view, filled(begin, "9", "]}")
    yield "applications", "releases", filled('{"d":[', '{"owns__release":[]},', "1]}")
    images = filled('{"d":[{"release_image":[', '{"image":[{}]},', "1]}]}")
    yield "images", "releases", images
    notes = '{"layers":[],"annotations":{'
    yield "annotation", "manifest", filled(f'{notes}"', "x", '":"y"}}')
    keys = ",".join(f'"{number}":""' for number in range(200_000))
    yield "annotations", "manifest", f"{notes}{keys}}}}}".encode()
    yield "token", "token", filled('{"token":"', "x", '"}')
    yield "token of dots", "token", filled('{"token":"', ".", '"}')
    for name, access in (("many", [{}] * 200_000), ("text", "x" * (2 << 20))):
        claims = base64url({"access": access})
        body = f'{{"token":"e30.{claims}.{SIGNATURE}"}}'
        yield f"access, {name}", "token", body.encode()
    deep = base64url(b'{"access":' + b"[" * 100_000)
    yield "access, deep", "token", f'{{"token":"e30.{deep}.{SIGNATURE}"}}'.encode()
    yield "spaces", "error", b'{"errors"' + b" " * SIZE


@pytest.mark.parametrize(
    ("view", "body"),
    [pytest.param(view, body, id=name) for name, view, body in large()],
)
def test_large_body(view: str, body: bytes) -> None:
    """Lists, nesting and values as large as an answer may be hold up nobody.

    The views run where the proxy runs, and pulls wait for them.
    """
    flow = make_flow(Kind.MANIFEST, f"/v2/{LOCATION}/manifests/latest", body=body)
    metadata = contentviews.Metadata(flow=flow, http_message=flow.response)
    begin = time.process_time()
    for each in VIEWS:
        each.render_priority(body, metadata)
    decided = time.process_time()
    with suppress(ValueError):
        check(contentviews.registry[f"registry {view}"].prettify(body, metadata))
    assert decided - begin < 0.5
    assert time.process_time() - decided < 5
