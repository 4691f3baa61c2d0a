"""What a client sees where mitmproxy answers by itself: an OCI error.

It does so for requests that are no HTTP, and where the registry cannot be reached.
"""

from contextvars import ContextVar
from http import HTTPStatus

from mitmproxy import http
from mitmproxy.proxy.layers.http import _http1

from mitm.reply import last_page
from resolver import errors

_SILENT = "registry behind this proxy"
_has_body: ContextVar[bool] = ContextVar("has_body", default=True)
"""Whether the page is for a request that takes a body in its answer."""
_silent: ContextVar[str] = ContextVar("silent", default=_SILENT)
"""Who did not answer it."""
_request_id: ContextVar[str] = ContextVar("request_id", default="")
"""By which the log has the request that was not answered."""


def prepare_page(
    flow: http.HTTPFlow, *, request_id: str = "", is_led_away: bool = False
) -> None:
    """Say for which flow the next page is, from its `error` hook.

    mitmproxy makes the page right after that hook, in the same task.

    Args:
        flow: the one that failed.
        request_id: that of its request; nothing where that was not even read.
        is_led_away: whether the storage was asked, and not the registry.

    """
    _request_id.set(request_id)
    _has_body.set(flow.request.method != "HEAD")
    _silent.set("storage of the registry" if is_led_away else _SILENT)


def install_error_pages() -> None:
    """Make mitmproxy's own answers OCI errors.

    mitmproxy has no hook for them. Where a later version has another function for
    them its own pages come back, and a test says so.
    """
    _http1.make_error_response = error_page


def error_page(status_code: int, message: str = "") -> bytes:  # noqa: ARG001 - names hosts
    """Return what mitmproxy answers by itself, as an OCI error.

    Its own page is HTML with the reason in it, and the reason names internal
    addresses (rule R13).
    """
    request_id = ""
    error: errors.RegistryError = errors.RequestInvalid(
        "this is not a sound HTTP request for a registry"
    )
    if status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        error = errors.ServiceUnavailable.because(
            errors.Reason.CONNECTION,
            f"the {_silent.get()} does not answer at the moment; try again later",
        )
        request_id = _request_id.get()
    return last_page(
        error, request_id=request_id, status=status_code, has_body=_has_body.get()
    )
