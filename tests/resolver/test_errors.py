"""Errors carry what the client is told: code, status, message, headers."""

import json
import re
from collections.abc import Iterator

import pytest

from resolver import errors
from resolver.errors import (
    REFUSALS,
    ErrorCode,
    MethodNotAllowed,
    RateLimited,
    RegistryError,
    error_body,
)


def leaves(root: type[RegistryError] = RegistryError) -> Iterator[type[RegistryError]]:
    """Yield the errors that are raised: those that nothing derives from."""
    for child in root.__subclasses__():
        if child.__subclasses__():
            yield from leaves(child)
        else:
            yield child


@pytest.mark.parametrize(
    ("name", "status", "code", "is_value_error"),
    [
        ("NameInvalid", 400, "NAME_INVALID", True),
        ("RequestInvalid", 400, "UNSUPPORTED", True),
        ("GrantUnsupported", 404, "UNSUPPORTED", True),
        ("EndpointUnknown", 404, "UNSUPPORTED", True),
        ("MethodNotAllowed", 405, "UNSUPPORTED", False),
        ("AliasInvalid", 400, "NAME_INVALID", True),
        ("AccessDenied", 403, "DENIED", False),
        ("ReleaseUnknown", 404, "NAME_UNKNOWN", False),
        ("TargetUnknown", 404, "NAME_UNKNOWN", False),
        ("TagUnknown", 404, "MANIFEST_UNKNOWN", False),
        ("BlobUnknown", 404, "BLOB_UNKNOWN", False),
        ("TokenInvalid", 401, "UNAUTHORIZED", False),
        ("ScopeInsufficient", 401, "UNAUTHORIZED", False),
        ("RangeUnsatisfiable", 416, "UNSUPPORTED", False),
        ("CredentialRejected", 401, "UNAUTHORIZED", False),
        ("RateLimited", 429, "TOOMANYREQUESTS", False),
        ("ServiceUnavailable", 503, "UNAVAILABLE", False),
        ("InternalError", 500, "UNKNOWN", False),
    ],
)
def test_leaf_has_status_and_code(
    *, name: str, status: int, code: str, is_value_error: bool
) -> None:
    """Each error has the status and the code of design section 7."""
    leaf = getattr(errors, name)
    assert (leaf.status, leaf.code) == (status, code)
    assert issubclass(leaf, ValueError) is is_value_error


@pytest.mark.parametrize("leaf", list(leaves()), ids=lambda leaf: leaf.__name__)
def test_leaf_is_in_the_tree(leaf: type[RegistryError]) -> None:
    """The tree in the module's docstring shows each error as it is."""
    assert errors.__doc__
    line = re.search(rf"── {leaf.__name__} .*", errors.__doc__)
    assert line
    inherited = re.search(r"TokenError +(\d+) ([A-Z_]+)", errors.__doc__)
    shown = re.search(r"(\d{3}) ([A-Z_]+)", line[0]) or inherited
    assert shown
    assert (int(shown[1]), shown[2]) == (leaf.status, leaf.code)


def test_refusals_are_found_by_code() -> None:
    """A token names a refusal by its code; a target's has that of a release."""
    assert {code: leaf.__name__ for code, leaf in REFUSALS.items()} == {
        ErrorCode.NAME_INVALID: "AliasInvalid",
        ErrorCode.DENIED: "AccessDenied",
        ErrorCode.NAME_UNKNOWN: "ReleaseUnknown",
    }
    carried = set(leaves(errors.Refusal)) - {errors.TargetUnknown}
    assert set(REFUSALS.values()) == carried


def test_retry_after_is_a_header() -> None:
    """An error that passes says when to try again."""
    error = RateLimited.with_retry_after("slow down", 7)
    assert (str(error), error.headers) == ("slow down", (("Retry-After", "7"),))


def test_allowed_methods_are_a_header() -> None:
    """A refused method is answered with those that are allowed."""
    error = MethodNotAllowed("no", allowed=("GET", "HEAD"))
    assert error.headers == (("Allow", "GET, HEAD"),)


@pytest.mark.parametrize(
    "message", ["plain", 'with "quotes" and \\', "line\nfeed", "größer", "\udcff"]
)
def test_body_is_an_oci_error(message: str) -> None:
    """The body has one error of the OCI specification in it, as ASCII JSON."""
    body = error_body(ErrorCode.NAME_UNKNOWN, message)
    expected = {"code": "NAME_UNKNOWN", "message": message, "detail": None}
    assert json.loads(body) == {"errors": [expected]}
    assert body.isascii()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (error_body(ErrorCode.DENIED, "no"), ("DENIED", "no")),
        (b'{"errors":[{"code":"X"},{"code":"Y"}]}', ("X", "X")),
        (b'{"errors":[{"code":"X","message":7}]}', ("X", "7")),
        (b'{"errors":[{"code":7,"message":"m"}]}', None),
        (b'{"errors":[]}', None),
        (b'{"errors":{}}', None),
        (b"[" * 100_000, None),
        (b"not found", None),
        (b"\xff", None),
    ],
)
def test_first_error_of_a_body_is_read(
    body: bytes, expected: tuple[str, str] | None
) -> None:
    """Code and message come back where it is an OCI error body."""
    assert errors.read_error(body) == expected
