"""Errors carry what the client is told: code, status, message, headers."""

import json
import re
from collections.abc import Iterator

import pytest

from resolver import errors
from resolver.errors import ErrorCode, RegistryError, error_body
from resolver.grammar.payload import read_error

MALFORMED = (
    "NameInvalid AliasInvalid RequestInvalid GrantUnsupported EndpointUnknown"
    " RequestUnfinished LengthUnknown BodyTooLong HeadTooLong"
)


def leaves(root: type[RegistryError] = RegistryError) -> Iterator[type[RegistryError]]:
    """Yield the errors that are raised: those that nothing derives from."""
    for child in root.__subclasses__():
        if child.__subclasses__():
            yield from leaves(child)
        else:
            yield child


def test_malformed_requests_are_value_errors() -> None:
    """What a client wrote wrong is a wrong value, and nothing else is."""
    malformed = [leaf for leaf in leaves() if issubclass(leaf, ValueError)]
    assert {leaf.__name__ for leaf in malformed} == set(MALFORMED.split())


@pytest.mark.parametrize(
    "leaf",
    [*leaves(), errors.ServiceUnavailable],
    ids=lambda leaf: leaf.__name__,
)
def test_leaf_is_in_the_tree(leaf: type[RegistryError]) -> None:
    """Status and code are those of the tree in the module's docstring."""
    assert errors.__doc__
    line = re.search(rf"── {leaf.__name__} .*", errors.__doc__)
    assert line
    inherited = re.search(r"TokenError +(\d+) ([A-Z_]+)", errors.__doc__)
    shown = re.search(r"(\d{3}) ([A-Z_]+)", line[0]) or inherited
    assert shown
    assert (int(shown[1]), shown[2]) == (leaf.status, leaf.code)


def test_refusals_are_found_by_code() -> None:
    """A token names a refusal by its code; a target's has that of a release."""
    carried = set(leaves(errors.Refusal)) - {errors.TargetUnknown}
    assert {leaf.code: leaf for leaf in carried} == errors.REFUSALS
    assert errors.TargetUnknown.code == errors.ReleaseUnknown.code


@pytest.mark.parametrize(
    "message", ["plain", 'with "quotes" and \\', "line\nfeed", "größer", "\udcff"]
)
def test_body_is_an_oci_error(message: str) -> None:
    """The body has one error of the OCI specification in it, as ASCII JSON."""
    body = error_body(ErrorCode.NAME_UNKNOWN, message)
    expected = {"code": "NAME_UNKNOWN", "message": message, "detail": None}
    assert json.loads(body) == {"errors": [expected]}
    assert body.isascii()
    assert read_error(body) == ("NAME_UNKNOWN", message)
