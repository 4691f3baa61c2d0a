"""What the API's two endpoints answer over HTTP.

Rate limits are missing: the open edition has none, balenaCloud's may answer 429.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

from localcloud.account import ANONYMOUS, Scheme, parse_credential
from localcloud.database import Database
from localcloud.issuer import Issuer
from localcloud.odata.answer import answer_query
from localcloud.odata.error import MalformedUrlError, ODataError
from localcloud.scope import grant, grant_to_builder, parse_scope
from localcloud.server import Request, Response

_VERSION_ROOT = re.compile(r"/v[67]/")
# The framework behind the API also takes scope[]=…, scope[0]=… and scope[x]=….
_SCOPE_PARAMETER = re.compile(r"scope(\[[^]]*\])?")
_NO_CACHE: Mapping[str, str] = {"Cache-Control": "no-cache"}


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
        if _VERSION_ROOT.match(request.path):
            return self._odata(request)
        return _text(404, f"Cannot {request.method} {request.path}")

    def _token(self, request: Request) -> Response:
        parameters = parse_qsl(request.query, keep_blank_values=True)
        api_key = next((v for k, v in parameters if k == "apikey"), None)
        credential = parse_credential(request.header("Authorization"), api_key)
        asked = [v for k, v in parameters if _SCOPE_PARAMETER.fullmatch(k)]
        scopes = [s for s in map(parse_scope, asked) if s is not None]
        if credential.is_builder:
            access = [grant_to_builder(scope) for scope in scopes]
            subject = ""
        else:
            account = credential.account()
            if account is None and credential.scheme is not Scheme.NONE:
                return Response(401, body=None)
            account = account or ANONYMOUS
            access = [grant(self._database, account, scope) for scope in scopes]
            subject = account.subject(credential.username)
        token = self._issuer.issue(subject, access)
        return _json(request, 200, {"token": token}, {})

    def _odata(self, request: Request) -> Response:
        if request.method not in {"GET", "HEAD"}:
            # The real API writes for those who may; here nobody may.
            return _failure(401)
        # A key within the query is read from it wherever it stands.
        api_key = dict(parse_qsl(request.query)).get("apikey")
        authorization = request.header("Authorization")
        if authorization and authorization[:6].lower() == "basic ":
            authorization = None
        credential = parse_credential(authorization, api_key)
        account = credential.account()
        if account is None and credential.scheme is Scheme.QUERY:
            return _failure(500)
        try:
            answer = answer_query(self._database, account or ANONYMOUS, request.target)
        except MalformedUrlError:
            message = f"Malformed url: '{request.target}'"
            return _json(request, 400, message, _NO_CACHE)
        except ODataError as error:
            return _failure(error.status)
        return _json(request, 200, answer, _NO_CACHE)


def _json(
    request: Request, status: int, value: object, headers: Mapping[str, str]
) -> Response:
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    digest = base64.b64encode(hashlib.sha1(body).digest()).decode()[:27]  # noqa: S324
    etag = f'W/"{len(body):x}-{digest}"'
    common = (*headers.items(), ("ETag", etag), ("Vary", "Accept-Encoding"))
    known = request.header("If-None-Match") or ""
    if status == 200 and etag in re.split(r"\s*,\s*", known):  # noqa: PLR2004
        return Response(304, common)
    content_type = ("Content-Type", "application/json; charset=utf-8")
    return Response(status, (content_type, *common), body)


def _failure(status: int) -> Response:
    return Response(status, tuple(_NO_CACHE.items()), body=None)


def _text(status: int, text: str, *headers: tuple[str, str]) -> Response:
    content_type = ("Content-Type", "text/plain; charset=utf-8")
    return Response(status, (*headers, content_type), text.encode())


def _redirect_to_https(request: Request) -> Response:
    url = f"https://{request.header('Host')}{request.target}"
    text = f"Moved Permanently. Redirecting to {url}"
    return _text(301, text, ("Location", url), ("Vary", "Accept"))
