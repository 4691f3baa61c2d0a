"""A request tells its story, and what is known of it."""

import pytest
from mitmproxy import contentviews, http

from mitm.redaction import redacted_form
from mitm.story.kind import Kind, OwnKind
from mitm.view import register_views
from tests.mitm.view.sample import ALIAS, make_flow, shown, squeezed
from tests.resolver.fake import LOCATION, base64url

FORM = "application/x-www-form-urlencoded"
KEY = "carolkey0000000000000000000000000"
RECORD = {
    "outcome": "served",
    "alias": ALIAS,
    "bytes": 2097982,
    "seconds": 0.0211,
    "registry_seconds": 0.003,
    "aliases": [{"alias": ALIAS, "location": LOCATION}],
}


def described(flow: http.HTTPFlow) -> str:
    """Return what is shown of the request."""
    view, text = shown(flow, flow.request)
    assert view == "registry request"
    return text


def asking(path: str, authorization: str = "", kind: str = Kind.MANIFEST) -> str:
    """Return what is shown of a request with that login."""
    flow = make_flow(kind, path, record=RECORD)
    if authorization:
        flow.request.headers["Authorization"] = authorization
    return described(flow)


def test_story_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentences, each on lines of its own, and then the facts."""
    told = ["It was refused.", "a word " * 30, "two\nlines"]
    monkeypatch.setattr("mitm.view.request.explain", lambda _: told)
    lines = asking("/v2/").splitlines()
    assert lines[0] == told[0]
    assert max(map(len, lines)) <= 100
    assert " ".join(lines[1:4]).strip() == told[1].strip()
    assert lines[4:7] == [r"two\nlines", " ", "known"]


def test_pull_is_one_click_away() -> None:
    """Where a page shows pulls, a request leads to the one it is part of."""
    register_views(lambda flow_id: f"http://127.0.0.1:8081/pulls#{flow_id}")
    flow = make_flow(Kind.MANIFEST, record=RECORD)
    assert f"pull http://127.0.0.1:8081/pulls#{flow.id}" in squeezed(described(flow))
    register_views()
    assert "/pulls" not in described(flow)


@pytest.mark.parametrize(
    "login",
    [
        f"Bearer {KEY}",
        f"Bearer e30.{base64url({'sub': 'u', 'x': KEY})}.{KEY}",
        f"Basic {KEY}",
        f"bearer  {KEY}~{KEY}",
        KEY,
    ],
)
def test_keys_are_not_shown(login: str) -> None:
    """Not even where the flow has them because the operator wants it so."""
    text = asking("/v7/release?apikey=" + KEY, login, OwnKind.RESOLUTION)
    assert KEY not in text
    assert base64url({"sub": "u", "x": KEY}) not in text
    assert squeezed(text)[squeezed(text).index("asked for") + 1] == "apikey [redacted]"


@pytest.mark.parametrize("is_redacted", [True, False])
def test_form_of_a_token_request(*, is_redacted: bool) -> None:
    """The form of containerd is shown, without what proves anything."""
    form = (
        f"grant_type=password&service=x&client_id=containerd-client&username=u"
        f"&password={KEY}&scope=repository%3Aa%2Fb%3Apull&other={KEY}"
    ).encode()
    flow = make_flow(Kind.TOKEN, "/auth/v1/token", record=RECORD)
    flow.request.headers["Content-Type"] = FORM
    flow.request.content = redacted_form(form) if is_redacted else form
    text = described(flow)
    lines = squeezed(text)
    begin = lines.index("form")
    assert lines[begin + 1 : begin + 7] == [
        "grant_type password",
        "service x",
        "client_id containerd-client",
        "username [redacted]",
        "password [redacted]",
        "scope repository:a/b:pull",
    ]
    assert KEY not in text


@pytest.mark.parametrize(
    ("content_type", "body", "line"),
    [
        ("text/plain", b"key=" + KEY.encode(), "37 bytes, text/plain"),
        ("", KEY.encode(), "33 bytes, no type"),
        (FORM, b"[redacted]", f"10 bytes, {FORM}"),
        (FORM, b"&".join([b"a=1"] * 300), "more than 256 parameters"),
    ],
)
def test_other_bodies_are_not_shown(content_type: str, body: bytes, line: str) -> None:
    """Of what is no form only type and size are told."""
    flow = make_flow(Kind.TOKEN, "/auth/v1/token", record=RECORD)
    flow.request.content = body
    if content_type:
        flow.request.headers["Content-Type"] = content_type
    text = described(flow)
    assert squeezed(text)[-1] == line
    assert KEY not in text


def test_chosen_by_hand_for_other_traffic() -> None:
    """Of a flow that is not this proxy's there is nothing to tell."""
    flow = make_flow(None)
    result = contentviews.prettify_message(flow.request, flow, "registry request")
    assert result.syntax_highlight == "error"
    assert "nothing is known of it" in result.text
