"""The API's two endpoints, as they answer over HTTP.

Rate limits are missing: the open edition has none, balenaCloud's may answer 429.
"""

import base64
import hashlib
import json
import re
from http import HTTPStatus
from urllib.parse import parse_qs

from localcloud.account import ANONYMOUS, find_account, find_bearer
from localcloud.database import Database
from localcloud.issuer import Issuer
from localcloud.odata import answer_query
from localcloud.query import QueryError
from localcloud.scope import grant, parse_scope
from localcloud.server import Header, Request, Response

_VERSION_ROOT = re.compile(r"/v[67]/")
_NO_CACHE = ("Cache-Control", "no-cache")


class Api:
    """The token endpoint and OData, over one database."""

    def __init__(self, database: Database, issuer: Issuer) -> None:
        self._database = database
        self._issuer = issuer

    def __call__(self, request: Request) -> Response:
        """Answer a request."""
        if (
            request.header("X-Forwarded-For") is not None
            and request.header("X-Forwarded-Proto") != "https"
        ):
            return _redirect_to_https(request)
        if request.path == "/auth/v1/token" and request.method in {"GET", "HEAD"}:
            return self._token(request)
        if _VERSION_ROOT.match(request.path) and request.method == "GET":
            return self._odata(request)
        return _text(404, f"Cannot {request.method} {request.path}")

    def _token(self, request: Request) -> Response:
        parameters = parse_qs(request.query)
        (api_key,) = parameters.get("apikey", [None])
        account = find_account(request.header("Authorization"), api_key)
        if account is None:
            return Response(401, body=None)
        scopes = map(parse_scope, parameters.get("scope", []))
        access = [grant(self._database, account, scope) for scope in scopes if scope]
        return _json(200, {"token": self._issuer.issue(account.subject, access)})

    def _odata(self, request: Request) -> Response:
        # Who is unknown, or sends a password, is anonymous here.
        account = find_bearer(request.header("Authorization")) or ANONYMOUS
        try:
            answer = answer_query(self._database, account, request.target)
        except QueryError as error:
            if error.status == HTTPStatus.BAD_REQUEST:
                return _json(400, f"Malformed url: '{request.target}'", _NO_CACHE)
            return Response(error.status, (_NO_CACHE,), body=None)
        return _json(200, answer, _NO_CACHE)


def _json(status: int, value: object, *headers: Header) -> Response:
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    digest = base64.b64encode(hashlib.sha1(body).digest()).decode()[:27]  # noqa: S324
    etag = f'W/"{len(body):x}-{digest}"'
    content_type = ("Content-Type", "application/json; charset=utf-8")
    common = (content_type, ("ETag", etag), ("Vary", "Accept-Encoding"))
    return Response(status, (*headers, *common), body)


def _text(status: int, text: str, *headers: Header) -> Response:
    content_type = ("Content-Type", "text/plain; charset=utf-8")
    return Response(status, (*headers, content_type), text.encode())


def _redirect_to_https(request: Request) -> Response:
    url = f"https://{request.header('Host')}{request.target}"
    text = f"Moved Permanently. Redirecting to {url}"
    return _text(301, text, ("Location", url), ("Vary", "Accept"))
