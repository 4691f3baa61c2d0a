"""What is cut out of the texts on the page."""

import base64
import json

import pytest
from mitmproxy import http
from mitmproxy.test import tflow

from report.secret import Secrets

KEY = "carolkey0000000000000000000000000"
LOGIN = base64.b64encode(f"carol:{KEY}".encode()).decode()
SIGNATURE = "c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"
JWT = f"eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJjYXJvbCJ9.{SIGNATURE}"
ALIASES = "eyJ2IjoxfQ"


def token_flow(authorization: str = "", form: str = "", answer: str = "") -> Secrets:
    """Return the secrets of a token request that was saved with them."""
    headers = http.Headers([(b"Authorization", authorization.encode())])
    request = http.Request.make(
        "POST", "http://proxy/auth/v1/token?scope=x", form, headers
    )
    secrets = Secrets()
    secrets.collect(
        tflow.tflow(req=request, resp=http.Response.make(200, answer or "-"))
    )
    return secrets


@pytest.mark.parametrize(
    ("secrets", "secret"),
    [
        (token_flow(f"Basic {LOGIN}"), KEY),
        (token_flow(f"Basic {LOGIN}"), LOGIN),
        (token_flow(f"Bearer {JWT}~{ALIASES}"), f"{JWT}~{ALIASES}"),
        (token_flow(f"Bearer {JWT}~{ALIASES}"), SIGNATURE),
        (token_flow(f"Bearer {KEY}"), KEY),
        (token_flow(form=f"grant_type=password&password={KEY}"), KEY),
        (token_flow(answer=json.dumps({"token": JWT})), SIGNATURE),
        (token_flow(answer=json.dumps({"refresh_token": KEY})), KEY),
        (Secrets(), f"{JWT}~{ALIASES}"),
    ],
)
def test_secrets_are_cut(secrets: Secrets, secret: str) -> None:
    """What was a login or token in any flow is cut out of every text."""
    assert secrets.cut(f"asked for {secret}, and") == "asked for [redacted], and"


def test_words_are_left() -> None:
    """A short password is not cut out of the words that it is part of."""
    short = base64.b64encode(b"me:block").decode()
    text = "balenablocks/browser [redacted]"
    assert token_flow(f"Basic {short}").cut(text) == text


def test_redacted_flows_have_no_secrets() -> None:
    """What the proxy put in the place of a secret is left as it is."""
    secrets = token_flow("Basic [redacted]", answer='{"token": "[redacted]"}')
    assert secrets.cut("a.b.[redacted]~c") == "a.b.[redacted]~c"


def test_locations_are_brief() -> None:
    """Of a location the beginning is left, as in the log."""
    text = "stored at v2/567e62d1e73529e7a31757ac1f3fb902."
    assert Secrets().cut(text) == "stored at v2/567e...."
