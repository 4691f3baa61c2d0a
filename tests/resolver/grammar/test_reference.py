"""Names are read strictly: aliases, locations, tags and digests."""

from collections.abc import Callable

import pytest

from resolver.errors import AliasInvalid, NameInvalid
from resolver.grammar.reference import (
    NAME_LENGTH_MAX,
    artifact_digest,
    is_artifact_tag,
    is_stored_name,
    parse_alias,
    parse_digest,
    parse_location,
    parse_reference,
    parse_repository_name,
    parse_tag,
    shorten,
)
from tests.resolver.fake import DIGEST, HASH, ident

ALIASES = {
    "org/app": ("org/app", None, None),
    "a--b/c---d": ("a--b/c---d", None, None),
    "org/app/2.4.1-1648554962021": ("org/app", "2.4.1-1648554962021", None),
    "org/app/2.3.8_rev1": ("org/app", "2.3.8_rev1", None),
    "org/app/1.7.0/my.service_1": ("org/app", "1.7.0", "my.service_1"),
    "v2/app": ("v2/app", None, None),
    "a/" + "b" * 253: ("a/" + "b" * 253, None, None),
}
NO_NAMES = [
    *("", "a//b", "/org/app", "org/app/", "org/../app", "Org/app", "org/app:2.3.8"),
    *("org/app/2.3.8+rev1+", "org/app/2..3", "org/app/.2", "org/a___b", "org/-app"),
    *("org /app", "org/app\n", "org/a\0pp", "org%2Fapp", "org/äpp", "org/app\udcff"),
    *("org/app\u0661", "org\\app", "org/app?x=1", "a/" + "b" * 298),
]
NO_ALIASES = [*NO_NAMES, "app", "a/b/c/d/e", "org.io/app", "org/my.app", "a" * 255]


@pytest.mark.parametrize(("text", "parts"), ALIASES.items(), ids=ident)
def test_alias_is_taken_apart(
    text: str, parts: tuple[str, str | None, str | None]
) -> None:
    """An alias has a slug, perhaps a selector, perhaps an image service."""
    alias = parse_alias(text)
    assert (alias.slug, alias.selector, alias.image_service) == parts
    assert str(alias) == parse_repository_name(text) == text


@pytest.mark.parametrize("text", NO_ALIASES, ids=ident)
def test_no_alias(text: str) -> None:
    """What breaks the grammar of aliases is refused with a printable, short message."""
    with pytest.raises(AliasInvalid) as caught:
        parse_alias(text)
    message = caught.value.message
    assert message.isprintable()
    assert message.isascii()
    assert len(text) <= 80 or text not in message
    assert "<org>/<app>" in message


@pytest.mark.parametrize("text", [*NO_NAMES, "a" * (NAME_LENGTH_MAX + 1)], ids=ident)
def test_no_repository_name(text: str) -> None:
    """What is no repository name is refused; any number of components may be one."""
    with pytest.raises(NameInvalid) as caught:
        parse_repository_name(text)
    assert caught.value.message.isprintable()
    assert parse_repository_name("a/b.c/d/e/" + "f" * (NAME_LENGTH_MAX - 10))


@pytest.mark.parametrize("plus", ["+", "%2B", "%2b"])
def test_plus_is_explained(plus: str) -> None:
    """Whoever writes a version as balena shows it is told how references have it."""
    with pytest.raises(AliasInvalid, match="write _, as in 'org/app/2"):
        parse_alias(f"org/app/2.3.8{plus}rev1")


@pytest.mark.parametrize(
    ("text", "is_location", "is_stored"),
    [
        (f"v2/{HASH}", True, True),
        (f"v2/{HASH}-1234", True, True),
        (f"v2/{HASH}-12345", False, False),
        (f"v2/{HASH}\n", False, False),
        (f"v2/{HASH.upper()}", False, False),
        (f"v2/{HASH[1:]}", False, False),
        (f"v2/{HASH}/latest", False, False),
        (HASH, False, False),
        ("resin/resinos", False, True),
        ("resin/resinos/2.0.0", False, False),
        ("resin/A", False, False),
    ],
    ids=ident,
)
def test_stored_name(*, text: str, is_location: bool, is_stored: bool) -> None:
    """The registry knows locations and the host's repositories by their names."""
    assert (parse_location(text) == text) is is_location
    assert is_stored_name(text) is is_stored


TAGS = {
    True: ("latest", "2.3.8", "V", "_", "a" * 128, f"sha256-{'0' * 64}.sig"),
    False: ("", "..", "-a", "a" * 129, "a+b", "a:b", "a/b", "ä", "a\n", "%41"),
}
HEX = "0f" * 32
DIGESTS = {
    True: (f"sha256:{HEX}", f"sha512:{HEX}{HEX}", f"blake3:{HEX}"),
    False: (
        *("", "sha256:", HEX, f"sha256:{HEX[:-1]}", f"sha256:{HEX}0", f"sha512:{HEX}"),
        *(f"sha256:{HEX.upper()}", f"sha256:{HEX}\n", f"md5:{HEX[:32]}"),
    ),
}


@pytest.mark.parametrize(
    ("parse", "texts"),
    [(parse_tag, TAGS), (parse_digest, DIGESTS)],
    ids=["tag", "digest"],
)
def test_tag_and_digest(
    parse: Callable[[str], str | None], texts: dict[bool, tuple[str, ...]]
) -> None:
    """A tag is by the grammar, a digest in full length of a registered algorithm."""
    assert [parse(text) for text in texts[True]] == [*texts[True]]
    assert [text for text in texts[False] if parse(text) is not None] == []


@pytest.mark.parametrize(
    ("tag", "is_artifact", "digest"),
    [
        (f"sha256-{HEX}", True, f"sha256:{HEX}"),
        (f"sha256-{HEX}.sig", True, f"sha256:{HEX}"),
        (f"sha512-{HEX}.att", True, None),
        ("2.3.8", False, None),
        (f"sha256-{HEX[:-1]}", False, None),
        (f"sha256-{HEX}0", False, None),
        (f"sha256-{HEX.upper()}", False, None),
        (f"sha256-{HEX}.", False, None),
        (f"sha256-{HEX}-sig", False, None),
        (f"md5-{HEX}", False, None),
    ],
    ids=ident,
)
def test_artifact_tag(tag: str, digest: str | None, *, is_artifact: bool) -> None:
    """The tag of an artifact names the digest by which every registry knows it."""
    assert is_artifact_tag(tag) == is_artifact
    assert artifact_digest(tag) == digest


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\r\nb\0", r"'a\r\nb\x00'"),
        ("é\u2028\udcff", r"'\xe9\u2028\udcff'"),
        ("x" * 80, f"'{'x' * 80}'"),
        ("x" * 81, f"'{'x' * 77}...'"),
    ],
    ids=ident,
)
def test_shorten_is_safe_to_show(text: str, shown: str) -> None:
    """What somebody sent is shown quoted, printable and short."""
    assert shorten(text) == shown


@pytest.mark.parametrize(
    ("text", "alias", "ignored_tag", "digest"),
    [
        (" org/app/2.3/main\n", "org/app/2.3/main", None, None),
        ("localhost/org/app", "org/app", None, None),
        ("localhost:8080/org/app:2.3.8", "org/app/2.3.8", None, None),
        ("registry.example.com/org/app/2.3:latest", "org/app/2.3", None, None),
        ("registry/org/app", "registry/org/app", None, None),
        ("[::1]:8080/org/app:v2", "org/app/v2", None, None),
        ("docker://org/app:2.3", "org/app/2.3", None, None),
        ("oci://HOST.example/org/app", "org/app", None, None),
        ("org/app:2.3.8+rev1", "org/app/2.3.8_rev1", None, None),
        ("org/app/2.3.8+rev1/main", "org/app/2.3.8_rev1/main", None, None),
        ("org/app:2.0.0-RC1", "org/app/2.0.0-rc1", None, None),
        ("org/app:Current", "org/app", None, None),
        ("org/app/2.3.8+rev1:2.3.8_rev1", "org/app/2.3.8_rev1", None, None),
        ("org/app/2.3/main:9.9", "org/app/2.3/main", "9.9", None),
        ("org/app/latest:2.3", "org/app/latest", "2.3", None),
        (f"docker://h:1/org/app/2:3@{DIGEST}", "org/app/2", "3", DIGEST),
    ],
    ids=ident,
)
def test_reference(
    text: str, alias: str, ignored_tag: str | None, digest: str | None
) -> None:
    """The host goes, the tag selects where nothing else does, the digest is kept."""
    reference = parse_reference(text)
    assert reference.alias == parse_alias(alias)
    assert (reference.ignored_tag, reference.digest) == (ignored_tag, digest)


@pytest.mark.parametrize(
    ("text", "ignored_tag"), [("org/app:2.3", "2.3"), ("org/app:latest", None)]
)
def test_tags_that_do_not_select(text: str, ignored_tag: str | None) -> None:
    """Where the proxy ignores tags, the answer is for what it would serve."""
    reference = parse_reference(text, tags_select=False)
    assert (str(reference.alias), reference.ignored_tag) == ("org/app", ignored_tag)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' does not name a release"),
        ("host:5000/alpine:3", "'alpine' does not name a release"),
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
        parse_reference(text)
    assert message in caught.value.message
