"""Whatever headers come, a credential goes where it belongs, and links lead to us."""

import base64
from contextlib import suppress
from urllib.parse import urlsplit

from hypothesis import given
from hypothesis import strategies as st
from requests.utils import check_header_validity

from resolver.errors import RequestInvalid
from resolver.grammar.challenge import TOKEN_PATH, Challenge
from resolver.grammar.credential import ANONYMOUS, parse_authorization
from resolver.grammar.url import client_url, parse_url
from resolver.upstream.transport import parse_retry_after
from tests.fuzz.profile import FUZZ
from tests.fuzz.strategy import WIRE, check_shown, mutated
from tests.resolver.fake import HASH, basic

SECRET = f"made-up-{HASH}"


@st.composite
def logins(draw: st.DrawFn) -> str:
    """Return a header with whatever bytes in it as user and password."""
    data = draw(
        st.binary(max_size=12) | st.sampled_from([b"", b":", b"u:", b"ue:\xc3"])
    )
    key = draw(st.sampled_from([b"", b":", SECRET.encode(), f":{SECRET}".encode()]))
    value = base64.b64encode(data + key).decode()
    return (
        draw(st.sampled_from(["Basic ", "basic  ", "Bearer ", "BASIC\t", ""])) + value
    )


AUTHORIZATIONS = mutated(
    logins() | st.just(f"Bearer {SECRET}") | st.just(basic("u", SECRET)),
    ("Basic", "Bearer ", "\r\nX: y", "==", *" \t=:é\udcff\0,"),
)


@given(AUTHORIZATIONS | WIRE)
@FUZZ
def test_credential_is_what_the_client_sent(header: str) -> None:
    """A login is passed on as it came, in a header that can carry it (R3)."""
    try:
        credential = parse_authorization(header)
    except RequestInvalid as error:
        check_shown(error, SECRET)
        return
    assert SECRET not in repr(credential)
    if credential.authorization is None:
        assert credential == ANONYMOUS
        return
    check_header_validity(("Authorization", credential.authorization))
    assert credential.authorization.isascii()
    assert credential.authorization.isprintable()
    scheme, _, value = credential.authorization.partition(" ")
    assert header.split(maxsplit=1)[0].lower() == scheme.lower()
    assert header.strip().endswith(value)
    if credential.key is not None:
        check_header_validity(("Authorization", f"Bearer {credential.key}"))
        assert credential.key.isascii()
        assert credential.key.isprintable()
        sent = value if scheme == "Bearer" else base64.b64decode(value).decode()
        assert sent == credential.key or sent.partition(":")[2] == credential.key


HOSTS = mutated(
    st.sampled_from(
        [
            *("localhost:8080", "proxy.example", "[::1]:443", "127.0.0.1", "a_b.c.:80"),
            *("user@host", "[fe80::1]", "host:65535", "[::ffff:1.2.3.4]:1"),
        ]
    ),
    (":", "0", ".", "..", "@", "/", "//", "[", "]", "%", "%25en0", "é", "\\", "#", " "),
)
LOGINS = HOSTS.map(f"user:{SECRET}@{{}}".format)
PROTOS = mutated(st.sampled_from(["http", "https", "HTTPS"]), (",", " ", '"', ";"))
FORWARDED = mutated(
    st.builds("for=1.2.3.4;proto={};host={}".format, PROTOS, HOSTS)
    | st.builds('Host="{}"; Proto="{}", for=unknown'.format, HOSTS, PROTOS),
    (";", ",", "=", '"', '\\"', "proto", "host=", " "),
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "forwarded": FORWARDED,
        "x-forwarded-proto": PROTOS,
        "x-forwarded-host": HOSTS | LOGINS,
    },
)


@given(st.booleans(), st.none() | HOSTS | LOGINS | WIRE, HEADERS, st.booleans())
@FUZZ
def test_url_is_that_of_the_client(
    tls: bool,  # noqa: FBT001 - Hypothesis gives it by position
    host: str | None,
    headers: dict[str, str],
    trusted: bool,  # noqa: FBT001
) -> None:
    """Realms are built on a URL of a host alone, from what counts and nothing else."""
    try:
        url = client_url(tls=tls, host=host, headers=headers, trust_forwarded=trusted)
    except RequestInvalid as error:
        check_shown(error, SECRET)
        return
    parts = urlsplit(url)
    assert url == f"{parts.scheme}://{parts.netloc}"
    assert parts.scheme in ("http", "https")
    assert parts.hostname
    assert parts.port is None or 0 < parts.port < 65536
    assert (parts.username, parts.password) == (None, None)
    assert url.isascii()
    assert url.isprintable()
    assert url.startswith(parse_url(url))
    assert Challenge(url + TOKEN_PATH).origin == url
    if not trusted:
        assert url == f"{'https' if tls else 'http'}://{host}"
        return
    texts = [host or "", *headers.values()]
    assert any(parts.netloc.lower() in text.lower() for text in texts)
    assert parts.scheme == ("https" if tls else "http") or any(
        parts.scheme in text.lower() for text in headers.values()
    )


NUMBERS = st.sampled_from(
    ["", "0", "1", "01", "12", "23", "59", "60", "69", "2026", "9" * 5, "9" * 20]
)
MOMENTS = mutated(
    st.builds(
        "{}, {} {} {} {}:{}:{} {}".format,
        *(st.sampled_from(["Mon", "Monday", "1"]), NUMBERS),
        *(st.sampled_from(["Nov", "jan", "DEC", "13"]), NUMBERS, NUMBERS, NUMBERS),
        *(
            NUMBERS,
            st.sampled_from(["GMT", "-0000", "+2359", "EST", "+9999", "-9" * 9]),
        ),
    )
    | st.sampled_from(["120", " 7 ", "-1", "9" * 5000, "Mon Nov 23 17:24:52 2026"]),
    (" ", ":", ",", "-", ".", "٣", "²", "9", "99", "(", ")", '"'),
)


@given(MOMENTS | WIRE)
@FUZZ
def test_pause_is_at_most_a_day(value: str) -> None:
    """Whatever Retry-After says, it is a number of seconds or nothing (R13)."""
    seconds = parse_retry_after(value)
    assert seconds is None or 0 <= seconds <= 86400
    with suppress(ValueError):
        if value.strip().isascii() and value.strip().isdecimal():
            assert seconds == min(int(value), 86400)
