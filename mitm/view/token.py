"""The view of a token endpoint's answer: the token's claims, in words."""

import re
from http import HTTPStatus

from mitm.story.kind import Kind, OwnKind
from mitm.view.body import Body, View
from mitm.view.claims import describe_token

_TOKEN = re.compile(rb'"(?:access_)?token"\s*:\s*"')


class TokenView(View):
    """The token that the API issued, or the one that the proxy made of it."""

    name = "registry token"

    def fits(self, body: Body) -> bool:
        """Return whether a token endpoint answered with a token."""
        return (
            body.kind in (Kind.TOKEN, OwnKind.GRANT)
            and body.status == HTTPStatus.OK
            and body.is_object
            and bool(_TOKEN.search(body.data))
        )

    def describe(self, body: Body) -> list[str]:
        """Return what the token says; never its signature."""
        answer = body.read_object()
        text = answer.get("token", answer.get("access_token"))
        if not isinstance(text, str):
            raise ValueError("no answer with a token")  # noqa: TRY004 - see View
        return describe_token(text, answer.get("expires_in"))
