"""Names are read strictly: aliases, locations, tags and digests."""

from collections.abc import Callable

import pytest

from resolver.errors import AliasInvalid, NameInvalid, RegistryError
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

COMMIT = "11e1ee23d7ddf6ab6da99bac26c9d274"

ALIASES = {
    "org/app": ("org/app", None, None),
    "my_org/my__app": ("my_org/my__app", None, None),
    "a--b/c---d": ("a--b/c---d", None, None),
    "balenablocks/browser-aarch64/2.3.8": (
        "balenablocks/browser-aarch64",
        "2.3.8",
        None,
    ),
    "org/app/2.4.1-1648554962021": ("org/app", "2.4.1-1648554962021", None),
    "org/app/2.3.8_rev1": ("org/app", "2.3.8_rev1", None),
    f"org/app/{COMMIT}": ("org/app", COMMIT, None),
    "org/app/1.7.0/helper": ("org/app", "1.7.0", "helper"),
    "org/app/1.7.0/my.service_1": ("org/app", "1.7.0", "my.service_1"),
    "resin/app/1.0.0": ("resin/app", "1.0.0", None),
    "v2/app": ("v2/app", None, None),
    "a/" + "b" * 253: ("a/" + "b" * 253, None, None),
}

NO_NAMES = [
    "",
    "a//b",
    "/org/app",
    "org/app/",
    "org/../app",
    "Org/app",
    "org/app/2.0.0-RC1",
    "org/app/2.3.8+rev1+",
    "org/app:2.3.8",
    "org/app/2..3",
    "org/app/.2",
    "org/a___b",
    "org/-app",
    "org /app",
    "org/app\n",
    "org/a\0pp",
    "org%2Fapp",
    "org/äpp",
    "org/аpp",  # noqa: RUF001 - a Cyrillic letter is the point
    "org/app\u0661",
    "org/app\udcff",
    "org\\app",
    "org/app?x=1",
    "a/" + "b" * 298,
    "/".join("ab" * 150),
]
NO_ALIASES = [*NO_NAMES, "app", "a/b/c/d/e", "org.io/app", "org/my.app", "a" * 255]


@pytest.mark.parametrize(("text", "parts"), ALIASES.items(), ids=ident)
def test_alias_is_taken_apart(
    text: str, parts: tuple[str, str | None, str | None]
) -> None:
    """An alias has a slug, perhaps a selector, perhaps an image service."""
    alias = parse_alias(text)
    assert (alias.slug, alias.selector, alias.image_service) == parts
    assert str(alias) == text


@pytest.mark.parametrize("text", NO_ALIASES, ids=ident)
def test_no_alias(text: str) -> None:
    """What breaks the grammar of aliases is refused with a printable, short message."""
    with pytest.raises(AliasInvalid) as caught:
        parse_alias(text)
    assert caught.value.message.isprintable()
    assert caught.value.message.isascii()
    assert len(text) <= 80 or text not in caught.value.message
    assert "<org>/<app>" in caught.value.message


@pytest.mark.parametrize("parse", [parse_alias, parse_repository_name])
@pytest.mark.parametrize("plus", ["+", "%2B", "%2b"])
def test_plus_is_explained(parse: Callable[[str], object], plus: str) -> None:
    """Whoever writes a version as balena shows it is told how references have it."""
    with pytest.raises(RegistryError) as caught:
        parse(f"org/app/2.3.8{plus}rev1")
    assert caught.value.message == (
        f"'org/app/2.3.8{plus}rev1' has a +, which no reference can carry: write"
        " _, as in 'org/app/2.3.8_rev1'"
    )


@pytest.mark.parametrize(
    "text",
    ["app", "a/b/c/d/e", "org.io/app", "a" * NAME_LENGTH_MAX, *ALIASES, f"v2/{HASH}"],
    ids=ident,
)
def test_repository_name(text: str) -> None:
    """A repository name is any number of components, 255 characters at most."""
    assert parse_repository_name(text) == text


@pytest.mark.parametrize("text", [*NO_NAMES, "a" * 256], ids=ident)
def test_no_repository_name(text: str) -> None:
    """What is no repository name is refused with a printable message."""
    with pytest.raises(NameInvalid) as caught:
        parse_repository_name(text)
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    ("text", "is_location", "is_stored"),
    [
        (f"v2/{HASH}", True, True),
        (f"v2/{HASH}-0", True, True),
        (f"v2/{HASH}-1234", True, True),
        (f"v2/{HASH}-12345", False, False),
        (f"v2/{HASH}\n", False, False),
        (f"v2/{HASH.upper()}", False, False),
        (f"v2/{HASH}0", False, False),
        (f"v2/{HASH[1:]}", False, False),
        (f"v2/{HASH}/latest", False, False),
        (f"v1/{HASH}", False, False),
        (f"registry2.example.com/v2/{HASH}", False, False),
        (HASH, False, False),
        ("v2/app", False, False),
        ("resin/resinos", False, True),
        ("resin/aarch64-supervisor", False, True),
        ("resin/resinos/2.0.0", False, False),
        ("resin/", False, False),
        ("resin/A", False, False),
        ("", False, False),
    ],
    ids=ident,
)
def test_stored_name(*, text: str, is_location: bool, is_stored: bool) -> None:
    """The registry knows locations and the host's repositories by their names."""
    assert (parse_location(text) == text) is is_location
    assert is_stored_name(text) is is_stored


SOUND: dict[Callable[[str], str | None], list[str]] = {
    parse_tag: ["latest", "2.3.8", "V", "_", "a" * 128, f"sha256-{'0' * 64}.sig"],
    parse_digest: ["sha256:" + "0f" * 32, "sha512:" + "0f" * 64, "blake3:" + "0f" * 32],
}
ODD: dict[Callable[[str], str | None], list[str]] = {
    parse_tag: ["", "..", "-a", "a" * 129, "a+b", "a:b", "a/b", "ä", "a\n", "%41"],
    parse_digest: [
        "",
        "sha256:",
        "sha256:" + "0f" * 31,
        "sha256:" + "0f" * 33,
        "sha256:" + "0F" * 32,
        "sha256:" + "0f" * 32 + "\n",
        "sha512:" + "0f" * 32,
        "blake3:" + "0f" * 64,
        "md5:" + "0f" * 16,
        "0f" * 32,
    ],
}


@pytest.mark.parametrize("parse", [parse_tag, parse_digest])
def test_tag_and_digest(parse: Callable[[str], str | None]) -> None:
    """A tag is by the grammar, a digest in full length of a registered algorithm."""
    assert [parse(text) for text in SOUND[parse]] == SOUND[parse]
    assert [text for text in ODD[parse] if parse(text) is not None] == []


@pytest.mark.parametrize("ending", ["", ".sig", ".att", ".sbom", ".sha256"])
@pytest.mark.parametrize(
    ("algorithm", "is_told"), [("sha256", True), ("sha512", False), ("blake3", False)]
)
def test_artifact_tag(algorithm: str, ending: str, *, is_told: bool) -> None:
    """The tag of an artifact names the digest by which every registry knows it."""
    tag = f"{algorithm}-{'0f' * 32}{ending}"
    assert is_artifact_tag(tag)
    assert artifact_digest(tag) == (f"{algorithm}:{'0f' * 32}" if is_told else None)


@pytest.mark.parametrize(
    "text",
    [
        "2.3.8",
        "sha256-" + "0f" * 31,
        "sha256-" + "0f" * 33,
        "sha256-" + "0F" * 32,
        "sha256-" + "0f" * 32 + ".",
        "sha256-" + "0f" * 32 + "-sig",
        "sha512-" + "0f" * 64,
        "md5-" + "0f" * 32,
    ],
    ids=ident,
)
def test_no_artifact_tag(text: str) -> None:
    """What is short, long, or of a foreign algorithm is a tag of the user's own."""
    assert not is_artifact_tag(text)
    assert artifact_digest(text) is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("org/app", "'org/app'"),
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
def test_reference(
    text: str, alias: str, ignored_tag: str | None, digest: str | None
) -> None:
    """The host goes, the tag selects where nothing else does, the digest is kept."""
    reference = parse_reference(text)
    assert reference.alias == parse_alias(alias)
    assert (reference.ignored_tag, reference.digest) == (ignored_tag, digest)


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
    reference = parse_reference(text, tags_select=False)
    assert (str(reference.alias), reference.ignored_tag) == (alias, ignored_tag)


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
        parse_reference(text)
    assert message in caught.value.message
