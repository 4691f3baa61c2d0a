"""What is shown in place of logins, tokens, forms, answers, and bytes in messages."""

import html
import json
import logging
import re
from urllib.parse import quote, quote_plus, urlencode

import pytest

from cause.finding import LENGTH_MAX
from mitm.redaction import (
    quieten_logs,
    redacted_answer,
    redacted_form,
    redacted_login,
    redacted_token,
    redacted_url,
    without_bytes,
    without_login,
    without_request,
    without_signature,
)
from resolver.grammar.secret import REDACTED
from tests.mitm.sample import CLAIMS, KEY, LOGIN, REGISTRY, SESSION, SUFFIX, jwt
from tests.resolver.fake import basic, ident

SHOWN = f"{CLAIMS}.{REDACTED}"


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        (REGISTRY, SHOWN),
        (REGISTRY + SUFFIX, SHOWN + SUFFIX),
        (f"{REGISTRY}~{KEY}", f"{SHOWN}~{REDACTED}"),
        (f"{REGISTRY}{SUFFIX}, Bearer {KEY}", f"{SHOWN}~{REDACTED}"),
        (f"{REGISTRY}~", f"{SHOWN}~{REDACTED}"),
        (f"{SHOWN}{SUFFIX}", f"{SHOWN}{SUFFIX}"),
        (SESSION, REDACTED),
        (SESSION + SUFFIX, REDACTED),
        (jwt({"access": KEY}), REDACTED),
        (jwt([{"access": []}]), REDACTED),
        (jwt({"access": [], "user": "eyJhbGciOiJI.eyJ1c2Vy.c2lnbmVk"}), REDACTED),
        (f"{KEY}, Bearer {REGISTRY}", REDACTED),
        (f"{KEY} {REGISTRY}", REDACTED),
        (f"{KEY}.{REGISTRY}", REDACTED),
        (f"\xe9{REGISTRY}", REDACTED),
        (CLAIMS, REDACTED),
        (f"{CLAIMS}.", f"{CLAIMS}.{REDACTED}"),
        (f"a.{KEY}.c", REDACTED),
        (KEY, REDACTED),
        ("", REDACTED),
    ],
)
def test_token_is_shown_without_what_it_proves(token: str, shown: str) -> None:
    """A registry's keeps claims and aliases, and anything else is not shown at all."""
    assert redacted_token(token) == shown


@pytest.mark.parametrize(
    ("login", "shown"),
    [
        (f"Basic {LOGIN}", f"Basic {REDACTED}"),
        (f"basic  {LOGIN} ", f"basic {REDACTED}"),
        (f"Bearer {KEY}", f"Bearer {REDACTED}"),
        (f"Bearer {SESSION}", f"Bearer {REDACTED}"),
        (f"Bearer {REGISTRY}", f"Bearer {SHOWN}"),
        (f"BEARER   {REGISTRY}", f"BEARER {SHOWN}"),
        (f"Bearer {KEY}, Bearer {REGISTRY}", f"Bearer {REDACTED}"),
        (f"Basic {LOGIN}, Bearer {REGISTRY}", f"Basic {REDACTED}"),
        (f"Bearer\t{KEY}", REDACTED),
        (f"Token {KEY}", REDACTED),
        (KEY, REDACTED),
        ("Basic", REDACTED),
        ("Bearer ", REDACTED),
        ("", REDACTED),
    ],
)
def test_login_is_shown_by_its_scheme(login: str, shown: str) -> None:
    """What is shown once stays so, as a flow may be redacted several times."""
    assert redacted_login(login) == shown
    assert redacted_login(shown) == shown


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (
            {"token": REGISTRY, "access_token": REGISTRY + SUFFIX, "expires_in": 60},
            {"token": SHOWN, "access_token": SHOWN + SUFFIX, "expires_in": 60},
        ),
        (
            {"token": REGISTRY, "issued_at": "2026-11-25T14:00:00Z"},
            {"token": SHOWN, "issued_at": "2026-11-25T14:00:00Z"},
        ),
        ({"token": KEY, "refresh_token": KEY}, {"token": REDACTED}),
        ({"token": REGISTRY, "expires_in": KEY}, {"token": SHOWN}),
        ({"token": REGISTRY, "issued_at": {KEY: KEY}}, {"token": SHOWN}),
        ({"token": [REGISTRY]}, {"token": REDACTED}),
        ({KEY: KEY}, {}),
    ],
)
def test_answer_is_shown_without_its_tokens(answer: object, shown: object) -> None:
    """Only what is known to be harmless is left in the answer of a token endpoint."""
    assert json.loads(redacted_answer(json.dumps(answer).encode())) == shown


@pytest.mark.parametrize(
    "body",
    [b"", KEY.encode(), json.dumps([REGISTRY]).encode(), b"\xff", b"[" * 100_000],
    ids=["nothing", "text", "list", "no UTF-8", "nested"],
)
def test_answer_that_is_none_is_not_shown(body: bytes) -> None:
    """Where the answer cannot be read, a token may be anywhere in it."""
    assert redacted_answer(body) == REDACTED.encode()


FORM = {"grant_type": "password", "username": "u", "password": KEY, "service": "a:80"}


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        (
            urlencode(FORM),
            f"grant_type=password&username={REDACTED}&password={REDACTED}&service=a:80",
        ),
        (
            "scope=repository%3Aa/b%3Apull&scope=x+y&client_id=docker",
            "scope=repository:a/b:pull&scope=x+y&client_id=docker",
        ),
        (f"refresh_token={KEY}&{KEY}={KEY}", f"refresh_token={REDACTED}"),
        (f"grant_type=password;password={KEY}", f"grant_type={REDACTED}"),
        (f"scope=x%0Apassword%3D{KEY}", f"scope={REDACTED}"),
        (f"scope=\n{KEY}", f"scope={REDACTED}"),
        (f"{KEY}={KEY}", REDACTED),
        (KEY, REDACTED),
        (json.dumps(FORM), REDACTED),
        (f"password={KEY}&\xff", REDACTED),
        ("", REDACTED),
    ],
)
def test_form_is_shown_without_user_and_password(form: str, shown: str) -> None:
    """What is asked for stays, and what the client proves itself with does not."""
    assert redacted_form(form.encode("latin-1")).decode() == shown
    assert redacted_form(shown.encode()).decode() == shown


@pytest.mark.parametrize(
    ("said", "login", "shown"),
    [
        (f"no key {KEY}", f"Bearer {KEY}", f"no key {REDACTED}"),
        (f"{LOGIN}, {KEY}", f"Basic {LOGIN}", f"{REDACTED}, {REDACTED}"),
        ("no such key", f"Bearer {KEY}", "no such key"),
        ("a word", "Basic dTp3b3Jk", "a word"),
        ("as it is", None, "as it is"),
        ("as it is", "Basic", "as it is"),
        ("as it is", "Basic no!base64", "as it is"),
    ],
)
def test_login_that_is_repeated_is_taken_out(
    said: str, login: str | None, shown: str
) -> None:
    """As it was sent, and the password alone; a short one may be any word."""
    assert without_login(said.encode(), login).decode() == shown


AWKWARD = 'p@ss w0rd+/="q\\é'
FORMS = [
    AWKWARD,
    quote(AWKWARD),
    quote(AWKWARD, safe=""),
    quote_plus(AWKWARD),
    re.sub("%..", lambda found: found[0].lower(), quote_plus(AWKWARD)),
    json.dumps(AWKWARD)[1:-1],
    json.dumps(AWKWARD)[1:-1].replace("/", r"\/"),
    html.escape(AWKWARD),
]


@pytest.mark.parametrize("form", FORMS, ids=ident)
@pytest.mark.parametrize("name", ["password", "refresh_token", "code", "made_up"])
def test_form_that_a_realm_repeats_is_taken_out(name: str, form: str) -> None:
    """Each value that may prove something, however it is written."""
    said = f'{{"details": "{name}={form}&scope=a"}}'.encode()
    shown = without_request(said, None, [(name, AWKWARD), ("scope", "a")])
    assert shown.decode() == f'{{"details": "{name}={REDACTED}&scope=a"}}'


@pytest.mark.parametrize("form", FORMS, ids=ident)
def test_login_that_a_realm_repeats_is_taken_out(form: str) -> None:
    """As it was sent, as it reads, and the password alone."""
    login = basic("u", AWKWARD)
    said = f"{login} u:{form} {form}".encode()
    shown = without_request(said, login, ()).decode()
    assert form not in shown
    assert login.partition(" ")[2] not in shown


def test_short_login_is_taken_out() -> None:
    """Nothing that a realm was sent is too short to be a password."""
    shown = without_request(b"pw of me", basic("me", "pw"), [("code", "7")])
    assert shown == b"[redacted] of me"


def test_words_of_a_realm_are_left() -> None:
    """What asks for something proves nothing."""
    sent = [("service", "r"), ("scope", "repository:a:pull"), ("account", "me")]
    assert without_request(b"me may not pull a of r", None, sent) == (
        b"me may not pull a of r"
    )


def test_login_of_letters_does_not_grow() -> None:
    """What was cut out is not cut again, however short the values are."""
    sent = [(letter, letter) for letter in "redact[]"]
    assert without_request(b"xreadx", None, sent) == b"x[redacted]x"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://u:pw@host/x?sig=1", "http://[redacted]@host/x?[redacted]"),
        ("https://u@p@host:81/x", "https://[redacted]@host:81/x"),
        ("https://host/x@y", "https://host/x@y"),
        ("/x/y", "/x/y"),
    ],
)
def test_url_is_shown_without_login(url: str, shown: str) -> None:
    """What stands before the host may be one."""
    assert redacted_url(url) == shown
    assert without_signature(url) == shown


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("server connect localhost:5000", "server connect localhost:5000"),
        ("Bad HTTP request line: b'GET secret'", "Bad HTTP request line: [redacted]"),
        ('unexpected: b"it\'s a secret"', "unexpected: [redacted]"),
        ("a b'secret', c b'secret'.", "a [redacted]."),
        ("DataReceived(client, b'secret...", "DataReceived(client, [redacted]"),
        ('DataReceived(client, b"secret...', "DataReceived(client, [redacted]"),
        ("two lines: b'secret\nsecret'", "two lines: [redacted]"),
        ("the client's job's done", "the client's job's done"),
    ],
)
def test_bytes_are_left_out(said: str, shown: str) -> None:
    """Bytes may be a login, also where they are cut off in the middle."""
    assert without_bytes(said) == shown


@pytest.mark.parametrize(
    "rest",
    [
        "Cannot parse ClientHello: " + "160301" * 60_000,
        f"The client may not trust the proxy's certificate for {SESSION} (oops)",
    ],
)
def test_failed_handshake_is_a_detail(
    caplog: pytest.LogCaptureFixture, rest: str
) -> None:
    """It is told of in other words, and may quote whatever a client sends."""
    quieten_logs()
    connections = logging.getLogger("mitmproxy.proxy.server")
    for level in (logging.INFO, logging.DEBUG):
        with caplog.at_level(level, connections.name):
            connections.warning("Client TLS handshake failed. %s", rest)
            connections.warning("Server TLS handshake failed.")
    assert [record.levelname for record in caplog.records] == [
        "WARNING",
        "DEBUG",
        "WARNING",
    ]
    assert len(caplog.messages[1]) <= LENGTH_MAX
    assert SESSION not in caplog.text
