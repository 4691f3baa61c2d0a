"""Tokens, logins and locations are cut out of a text by their looks, and words stay."""

import pytest

from resolver.grammar.secret import without_secrets
from tests.resolver.fake import HASH, LOCATION, basic, jwt

LOGIN = basic("u", "made-up-password").partition(" ")[2]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"the token {jwt()}~eyJ2IjoxfQ is over", "the token [redacted] is over"),
        (f"no Basic {LOGIN} here", "no Basic [redacted] here"),
        ("no bearer opaque-token-1 here", "no bearer [redacted] here"),
        (f"no repository {LOCATION}-2 here", f"no repository v2/{HASH[:4]}... here"),
        ("use Bearer authentication", "use Bearer authentication"),
        ("a Basic authorization is none", "a Basic authorization is none"),
        ('Bearer realm="https://auth.example.com/"',) * 2,
        (f"a release has the commit {HASH}",) * 2,
    ],
)
def test_secrets_are_cut(text: str, shown: str) -> None:
    """What opens something goes; of a location enough is left to tell two apart."""
    assert without_secrets(text) == shown
    assert without_secrets(shown) == shown
