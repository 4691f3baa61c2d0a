"""References are taken as people paste them, and nothing is resolved unsaid."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.errors import AliasInvalid
from resolver.grammar.pasted import parse_pasted
from resolver.grammar.reference import parse_alias
from tests.resolver.fake import DIGEST, HASH, PROPERTY, ident


@pytest.mark.parametrize(
    ("text", "alias", "ignored_tag", "digest"),
    [
        ("org/app", "org/app", None, None),
        ("org/app/2.3", "org/app/2.3", None, None),
        ("org/app/2.3/main", "org/app/2.3/main", None, None),
        (" org/app\n", "org/app", None, None),
        ("localhost/org/app", "org/app", None, None),
        ("localhost:8080/org/app:2.3.8", "org/app/2.3.8", None, None),
        ("registry.example.com/org/app/2.3:latest", "org/app/2.3", None, None),
        ("registry/org/app", "registry/org/app", None, None),
        ("[::1]:8080/org/app:v2", "org/app/v2", None, None),
        ("docker://host.example/org/app:2.3", "org/app/2.3", None, None),
        ("docker://org/app:2.3", "org/app/2.3", None, None),
        ("oci://HOST.example/org/app", "org/app", None, None),
        ("https://host:8080/org/app/2.3", "org/app/2.3", None, None),
        ("org/app:2.3", "org/app/2.3", None, None),
        ("org/app:2.3.8+rev1", "org/app/2.3.8_rev1", None, None),
        ("org/app/2.3.8+rev1", "org/app/2.3.8_rev1", None, None),
        ("org/app/2.3.8+rev1/main", "org/app/2.3.8_rev1/main", None, None),
        ("org/app:2.0.0-RC1", "org/app/2.0.0-rc1", None, None),
        ("org/app:latest", "org/app", None, None),
        ("org/app:Current", "org/app", None, None),
        ("org/app/2.3:2.3", "org/app/2.3", None, None),
        ("org/app/2.3.8+rev1:2.3.8_rev1", "org/app/2.3.8_rev1", None, None),
        ("org/app/2.3:9.9", "org/app/2.3", "9.9", None),
        ("org/app/2.3/main:9.9", "org/app/2.3/main", "9.9", None),
        ("org/app/latest:2.3", "org/app/latest", "2.3", None),
        (f"org/app@{DIGEST}", "org/app", None, DIGEST),
        (f"h:1/org/app:2.3@{DIGEST}", "org/app/2.3", None, DIGEST),
        (f"docker://h:1/org/app/2:3@{DIGEST}", "org/app/2", "3", DIGEST),
    ],
    ids=ident,
)
def test_pasted_reference(
    text: str, alias: str, ignored_tag: str | None, digest: str | None
) -> None:
    """The host goes, the tag selects where nothing else does, the digest is kept."""
    found = parse_pasted(text)
    assert found.alias == parse_alias(alias)
    assert (found.ignored_tag, found.digest) == (ignored_tag, digest)


@pytest.mark.parametrize(
    ("text", "alias", "ignored_tag"),
    [
        ("org/app:2.3", "org/app", "2.3"),
        ("org/app:latest", "org/app", None),
        ("org/app/2.3:9.9", "org/app/2.3", "9.9"),
    ],
)
def test_tags_that_do_not_select(
    text: str, alias: str, ignored_tag: str | None
) -> None:
    """Where the proxy ignores tags, the answer is for what it would serve."""
    found = parse_pasted(text, tags_select=False)
    assert (str(found.alias), found.ignored_tag) == (alias, ignored_tag)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' does not name a release"),
        ("alpine", "'alpine' does not name a release"),
        ("host:5000/alpine:3", "'alpine' does not name a release"),
        ("host.example/a/b/c/d/e", "'a/b/c/d/e' does not name a release"),
        ("Org/app:2.3", "'Org/app' does not name a release"),
        ("org/app:", "'' is not a tag"),
        ("org/app:2.3/main", "'2.3/main' is not a tag; it stands at the end"),
        ("org/app:2.3-", "'org/app/2.3-' does not name a release"),
        ("org/app@sha256:12", "'sha256:12' is not a digest"),
        (f"registry.example.com/v2/{HASH}", "is where an image is stored"),
        ("ftp://host.example/org/app", "does not name a release"),
        ("org/app:\x1b[2J", "'\\x1b[2J' is not a tag"),
    ],
    ids=ident,
)
def test_nothing_to_resolve(text: str, message: str) -> None:
    """The part that is wrong is named, and what would be right."""
    with pytest.raises(AliasInvalid) as caught:
        parse_pasted(text)
    assert message in caught.value.message


@given(st.text("ab/:@.+-2 \n") | st.text())
@PROPERTY
def test_any_text_is_taken_or_refused(text: str) -> None:
    """Nothing that is pasted is a bug of ours, and what it stands for can be pulled."""
    with suppress(AliasInvalid):
        found = parse_pasted(text)
        assert parse_alias(str(found.alias)) == found.alias
