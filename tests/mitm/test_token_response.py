"""The client gets its token, and whatever shows the answer gets the claims alone."""

import json
from collections.abc import Iterator

import pytest
from mitmproxy import flowfilter, http
from mitmproxy.addons.export import Export
from mitmproxy.test import taddons, tflow

import addon
from mitm import secret
from mitm.redaction import REDACTED
from tests.mitm.exposure import assert_hidden
from tests.mitm.sample import CLAIMS, REGISTRY, SIGNATURE, SUFFIX

TOKEN = REGISTRY + SUFFIX
ANSWER = json.dumps({"token": TOKEN, "access_token": TOKEN}).encode()


@pytest.fixture
def options() -> Iterator[taddons.context]:
    """mitmproxy, with the addon's options."""
    with taddons.context(addon.RegistryProxy(), Export()) as context:
        yield context


def sent_body(response: http.Response) -> object:
    """Return the body that mitmproxy's own layer sends to the client."""
    return eval(
        "response.raw_content", {"__name__": secret.SENDER, "response": response}
    )


@pytest.fixture
def answered(options: taddons.context) -> http.HTTPFlow:
    """A flow that is answered with a token."""
    del options
    flow = tflow.tflow()
    flow.response = secret.TokenResponse.of(http.Response.make(200, ANSWER))
    return flow


def response_of(flow: http.HTTPFlow) -> http.Response:
    """Return the flow's response, which there is."""
    assert flow.response
    return flow.response


def test_answer_is_sent_and_not_shown(answered: http.HTTPFlow) -> None:
    """The client gets the token, as long as promised; everybody else its claims."""
    response = response_of(answered)
    assert sent_body(response) == ANSWER
    assert response.headers["content-length"] == str(len(ANSWER))
    assert json.loads(response.text or "")["token"].startswith(f"{CLAIMS}.{REDACTED}~")
    assert not flowfilter.match(f"~bs {SIGNATURE[:4]}", answered)
    assert_hidden(answered)


def test_copy_of_an_answer_has_no_token(answered: http.HTTPFlow) -> None:
    """What is duplicated can be sent, and is what was shown."""
    copied = response_of(answered).copy()
    assert sent_body(copied) == copied.content
    assert SIGNATURE not in str(sent_body(response_of(answered.copy())))


def test_answer_of_an_editor_is_sent(answered: http.HTTPFlow) -> None:
    """Who writes another body sends that one; other edits leave the token."""
    response = response_of(answered)
    response.status_code = 201
    response.headers["X-Edited"] = "yes"
    assert sent_body(response) == ANSWER
    response.text = "edited"
    assert sent_body(response) == b"edited" == response.content


def test_answer_is_shown_with_the_option(options: taddons.context) -> None:
    """Who switched it on sees what the client gets."""
    options.options.balena_show_secrets = True
    response = secret.TokenResponse.of(http.Response.make(200, ANSWER))
    assert response.content == ANSWER == sent_body(response)
