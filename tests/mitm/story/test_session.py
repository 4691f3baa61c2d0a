"""What stands for a token."""

import importlib

from mitm.story import session
from tests.mitm.story.sample import MANIFEST, TOKEN, request, token_answer

JWT = "eyJhbGciOiJFUzI1NiJ9.eyJqdGkiOiIxIn0.c2lnbmF0dXJl~e30"


def test_same_token_same_name() -> None:
    """The same token has the same name, another one another, and none has none."""
    name = session.session_of(JWT)
    assert name == session.session_of(JWT)
    assert name != session.session_of(f"{JWT}x")
    assert name
    assert len(name) == 16
    assert session.session_of("") is None
    assert session.session_of(None) is None
    assert session.session_of("\udcff")


def test_name_says_nothing_elsewhere() -> None:
    """Another process names the same token otherwise, so nobody can try tokens out."""
    name = session.session_of(JWT)
    try:
        assert importlib.reload(session).session_of(JWT) != name
    finally:
        importlib.reload(session)


def test_token_that_is_issued_is_the_one_that_is_sent() -> None:
    """An answer with a token has the name that requests with this token have."""
    issued = request(TOKEN, answer=token_answer("a/b", body=f'{{"token": "{JWT}"}}'))
    assert issued.session == session.session_of(JWT)
    assert request(MANIFEST).session is None
