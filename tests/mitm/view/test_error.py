"""An error reads as who says so, what it means, and what comes of it."""

import json

import pytest

from mitm.story.kind import Kind, OwnKind
from resolver.errors import ErrorCode, error_body
from tests.mitm.view.sample import make_flow, shown, squeezed

MESSAGE = "org/app has no release 9.9.9 that can be pulled; its newest are 2.9.3"


def described(
    body: bytes, status: int = 404, kind: str = Kind.MANIFEST, **headers: str
) -> list[str]:
    """Return the lines that are shown of the error."""
    record = {"outcome": "refused", "message": MESSAGE, "alias": "org/app"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    flow = make_flow(
        kind, "/v2/x", status=status, body=body, headers=named, record=record
    )
    view, text = shown(flow)
    assert view == "registry error"
    return squeezed(text)


def errors(*found: object) -> bytes:
    """Return a body in the form that the specification gives errors."""
    return json.dumps({"errors": found}).encode()


@pytest.mark.parametrize("code", ErrorCode)
def test_error_of_the_proxy(code: ErrorCode) -> None:
    """Each code in the registry's words, and in those of who wrote it here."""
    lines = described(error_body(code, MESSAGE))
    assert lines[2].startswith(f"{code}: ")
    assert lines[4].startswith("from this proxy: ")


def test_message_is_not_repeated() -> None:
    """The sentence that ends in what stands above already is left out."""
    lines = described(error_body(ErrorCode.NAME_UNKNOWN, MESSAGE))
    assert sum(MESSAGE in line for line in lines) == 1
    assert lines[lines.index("what happened") + 1 :]


@pytest.mark.parametrize(
    ("wait", "line"),
    [("10", "wait 10 s"), ("Mon, 23 Nov 2026", "wait Mon, 23 Nov 2026")],
)
def test_time_to_wait(wait: str, line: str) -> None:
    """Clients are told when to come back, in seconds or by a date."""
    body = error_body(ErrorCode.TOOMANYREQUESTS, "slow down")
    lines = described(body, 429, Kind.TOKEN, Retry_After=wait)
    assert lines[:2] == ["429 Too Many Requests", line]


def test_error_of_the_api() -> None:
    """What the proxy itself was answered is not taken for the registry's."""
    body = errors({"code": "DENIED", "message": "no"})
    sources = {
        kind: described(body, 403, kind)[4] for kind in (*OwnKind, Kind.MANIFEST)
    }
    assert sources == {
        OwnKind.RESOLUTION: "from the API",
        OwnKind.GRANT: "from the API",
        OwnKind.PROBE: "from the registry",
        OwnKind.SEARCH: "from the registry",
        OwnKind.CHOICE: "from the registry",
        Kind.MANIFEST: "from the registry",
    }


def test_challenge_says_why() -> None:
    """A token that does not do is told from one that is not there."""
    challenge = 'Bearer realm="http://x",service="y",error="insufficient_scope"'
    body = error_body(ErrorCode.UNAUTHORIZED, "no")
    assert "because insufficient_scope" in described(
        body, 401, WWW_Authenticate=challenge
    )


def test_several_errors() -> None:
    """Each has its own part; what is none is shown as it stands."""
    lines = described(
        errors({"code": "X", "message": None}, "odd", {"message": "a\n\x1b[2J"}, 5), 499
    )
    assert lines[:12] == [
        *("499", "", "X", "message none", "from the registry"),
        *("", "odd", "", "none", r"message a\n\x1b[2J", "from the registry", ""),
    ]


def test_error_that_looks_like_the_proxys() -> None:
    """Only what the proxy would have written to the byte is said to be from it."""
    body = errors({"code": "DENIED", "message": "requested access is denied"})
    assert "from the registry" in described(body, 403)
