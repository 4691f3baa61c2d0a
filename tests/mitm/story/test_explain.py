"""Sentences about flows that no recorded pull has, and that there always are some."""

from collections.abc import Mapping
from typing import Any

import pytest
from mitmproxy.flow import Error

from mitm.story.explain import FOREIGN, explain
from mitm.story.kind import Kind, Login, OwnKind
from tests.mitm.story.sample import ALIAS, flow_with

type State = Mapping[str, Any]

TOKEN: State = {"kind": "token", "alias": ALIAS, "outcome": "served"}
BLOB: State = {
    "kind": "blob",
    "alias": ALIAS,
    "outcome": "served",
    "bytes": 5,
    "seconds": 1.5,
    "registry_seconds": 0.25,
}
CHOICE: State = {"kind": "choice", "alias": "org/app", "outcome": "served"}


def explained(state: State | None, status: int = 200) -> str:
    """Return the explanation of a flow with this record."""
    return " ".join(explain(flow_with(state, status)))


@pytest.mark.parametrize(
    ("state", "status", "sentence"),
    [
        ({**TOKEN, "login": "new"}, 200, "with a login that is not known."),
        (BLOB, 304, "The client has it already"),
        ({**BLOB, "storage": "s.example"}, 200, "redirected it to s.example, and the"),
        ({**BLOB, "storage": "s"}, 200, "The storage began to answer after 0.250 s"),
        ({**BLOB, "outcome": "aborted"}, 200, "The client went away"),
        (CHOICE, 404, "this release of org/app has what the client"),
        ({**BLOB, "outcome": None}, 200, "It is not answered yet."),
        ({"kind": "later", "path": "/x"}, 200, "asked for /x. It is not answered yet."),
        (None, 200, FOREIGN),
    ],
)
def test_flow_is_explained(state: State | None, status: int, sentence: str) -> None:
    """Ends that are rare have sentences of their own, as far as all is known."""
    assert sentence in explained(state, status)


@pytest.mark.parametrize(
    ("cache", "sentence"),
    [
        ("shared", "Another client was just asking"),
        ("stale", "served beyond its time"),
        ("later", "It was looked up."),
    ],
)
def test_token_says_where_the_release_is_known_from(cache: str, sentence: str) -> None:
    """What was remembered is told from what was asked."""
    alias = {"alias": ALIAS, "release": "2.3.8", "cache": cache}
    assert sentence in explained({**TOKEN, "aliases": [alias]})


def test_flow_that_broke_before_its_record_ended() -> None:
    """The error is mitmproxy's, where the proxy had no time to note one."""
    flow = flow_with({"kind": "blob", "alias": ALIAS})
    flow.error = Error("closed")
    assert explain(flow)[-1] == "It ended here: closed."


@pytest.mark.parametrize("kind", [*Kind, *OwnKind])
@pytest.mark.parametrize("login", [None, *Login])
def test_every_kind_is_explained(kind: str, login: str | None) -> None:
    """A flow of this proxy has a sentence, however little is known of it."""
    assert explained({"kind": str(kind), "login": login}).endswith(".")
