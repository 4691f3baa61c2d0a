"""Decides what is told of a request: its story, and all that is known of it.

mitmproxy's interfaces show no metadata, so it is shown here, in place of the body that
requests to a registry do not have.
"""

from urllib.parse import parse_qsl

from mitmproxy import http

from mitm.redaction import REDACTED
from mitm.story.explain import explain
from mitm.story.fact import Fact, Value
from mitm.view.body import Body, View
from mitm.view.claims import describe_token
from mitm.view.line import fields, paragraph, section, shown
from mitm.view.quantity import exact_size

_PREFIX = "balena."
_SIZES = frozenset({Fact.BYTES})
_TIMES = frozenset({Fact.SECONDS, Fact.API_SECONDS, Fact.REGISTRY_SECONDS})
_FORM_TYPE = "application/x-www-form-urlencoded"
_PARAMETERS_MAX = 256
_SHOWN_PARAMETERS = frozenset(
    {
        *("scope", "service", "client_id", "grant_type", "access_type"),
        *("n", "last", "artifactType"),
        *("$select", "$filter", "$expand", "$orderby", "$top"),
    }
)
_NAMED_PARAMETERS = frozenset(
    {"account", "apikey", "password", "refresh_token", "username"}
)
"""Without their values. Of any other the name may be a key as well."""


class RequestView(View):
    """The request, and what became of it."""

    name = "registry request"

    def fits(self, body: Body) -> bool:
        """Return whether this is a request of which there are facts."""
        return isinstance(body.message, http.Request)

    def describe(self, body: Body) -> list[str]:
        """Return the story, the facts, what was asked for, and the token's claims."""
        flow = body.flow
        if flow is None or not body.kind:
            raise ValueError("nothing is known of it")
        story = [line for text in explain(flow) for line in paragraph(shown(text))]
        lines = [
            *story,
            *section("known", fields(map(_fact, body.facts.items()))),
            *_asked(flow.request.path.partition("?")[2]),
            *_token(flow.request.headers.get("authorization", "")),
            *_body(body),
        ]
        return lines if story else lines[1:]


def _fact(known: tuple[Fact, Value]) -> tuple[str, str]:
    name, value = known
    label = name.removeprefix(_PREFIX)
    if name in _SIZES and isinstance(value, int) and value >= 0:
        return label, exact_size(value)
    if name in _TIMES and isinstance(value, int | float):
        return label, f"{value:.3f} s"
    return label, shown(value)


def _asked(query: str) -> list[str]:
    """Return the parameters: the API's can hardly be read in a path."""
    return section("asked for", _parameters(query))


def _token(authorization: str) -> list[str]:
    scheme, _, text = authorization.strip().partition(" ")
    if scheme.lower() != "bearer":
        return []
    return section("with the token", describe_token(text.strip()))


def _body(body: Body) -> list[str]:
    """Return the form, or how much there is of anything else."""
    if not body.data or not isinstance(body.message, http.Request):
        return []
    if body.media_type == _FORM_TYPE and body.data != REDACTED.encode():
        return section("form", _parameters(body.data.decode(errors="replace")))
    media_type = shown(body.media_type or "no type")
    return section("body", [f"  {exact_size(len(body.data))}, {media_type}"])


def _parameters(text: str) -> list[str]:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_PARAMETERS_MAX)
    except ValueError:
        return [f"  more than {_PARAMETERS_MAX} parameters"]
    known = [
        (name, REDACTED if name in _NAMED_PARAMETERS else shown(_spaced(name, value)))
        for name, value in pairs
        if name in _NAMED_PARAMETERS | _SHOWN_PARAMETERS
    ]
    more = len(pairs) - len(known)
    return [*fields(known), *([f"  and {more} that are not shown"] if more else [])]


def _spaced(name: str, value: str) -> str:
    """Return the value with places where its line can be broken."""
    if not name.startswith("$"):
        return value
    return value.replace(",", ", ").replace(";", "; ")
