"""Requests, sent byte by byte as a script says, and a transcript of what came back."""

import base64
import json
import re
import socket
from collections.abc import Mapping, Sequence
from http.client import HTTPResponse, RemoteDisconnected

from demo.proxy import Proxy
from tests.golden.plain import Plain, token_lines

TIMEOUT = 30
AGENT = "golden/1"
MANIFESTS = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "oci.image.index.v1",
        "oci.image.manifest.v1",
        "docker.distribution.manifest.list.v2",
        "docker.distribution.manifest.v2",
    )
)


class Play:
    """A client of a proxy that writes down what it hears."""

    def __init__(self, proxy: Proxy, plain: Plain) -> None:
        self.agent = AGENT
        self.lines: list[str] = []
        self._proxy = proxy
        self._plain = plain
        self._answers: dict[str, str] = {}

    @property
    def transcript(self) -> str:
        """What was said and heard."""
        return "\n".join(self.lines) + "\n"

    def title(self, text: str) -> None:
        """Begin a chapter."""
        self.lines += ["", f"=== {text} ===", ""]

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> tuple[int, str, bytes]:
        """Send a request as a client does."""
        fields = {"Host": self._proxy.host, "User-Agent": self.agent, **(headers or {})}
        if body:
            fields["Content-Length"] = str(len(body))
        fields["Connection"] = "close"
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return self.send(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)

    def send(self, request: bytes) -> tuple[int, str, bytes]:
        """Send bytes; return status, headers and body of the answer."""
        head, _, sent = request.partition(b"\r\n\r\n")
        asked, *fields = head.decode("latin-1").split("\r\n")
        asked = self._plain.text(asked).removesuffix(" HTTP/1.1")[:400]
        self.lines.append(f"> {asked}")
        usual = ("Connection: close", "Accept: ", "User-Agent: ", "Host: PROXY")
        for line in map(self._plain.text, fields):
            if not line.startswith(usual):
                self.lines.append(f"> {line[:400]}")
        if sent:
            self.lines.append(f"> {sent.decode('latin-1')[:300]!r}")
        address = ("127.0.0.1", self._proxy.port)
        method = "HEAD" if request.startswith(b"HEAD ") else "GET"
        with socket.create_connection(address, TIMEOUT) as connection:
            connection.sendall(request)
            response = HTTPResponse(connection, method=method)
            try:
                response.begin()
            except RemoteDisconnected:
                self.lines += ["< nothing; the connection is closed", ""]
                return 0, "", b""
            body = response.read()
        self.lines += [*self._answer_lines(response, body, asked), ""]
        return response.status, str(response.headers), body

    def _answer_lines(
        self, response: HTTPResponse, body: bytes, asked: str
    ) -> Sequence[str]:
        """Return the answer, or to what request it was the same before."""
        reason = self._plain.text(response.reason)
        said = f"< {response.status} {reason}"
        headers = self._plain.answer(response.headers.items(), body)
        lines = [said, *(f"< {line}" for line in headers)]
        if b'"token"' in body:
            token = json.loads(body)["token"]
            lines += map(self._plain.text, token_lines(token))
        text = self._plain.body(body)
        same = f'"message": "{reason}"'
        lines += text.replace(same, '"message": <the reason>').splitlines()
        first = self._answers.setdefault("\n".join(lines), asked)
        if first is asked or len(lines) == 1:
            return lines
        return [f"< {response.status}, as for {first}"]

    def token(
        self, *names: str, key: str | None = None, query: str = "", scheme: str = ""
    ) -> str:
        """Ask for a token, and return it, or nothing."""
        scopes = [f"scope=repository:{name}:pull" for name in names]
        path = "/auth/v1/token?" + "&".join([*scopes, *([query] if query else [])])
        _, _, body = self.ask("GET", path, self._login(key, scheme))
        token: str = json.loads(body).get("token", "")
        return token

    def _login(self, key: str | None, scheme: str) -> Mapping[str, str]:
        if key is None:
            return {}
        basic = base64.b64encode(f"u:{key}".encode()).decode()
        return {"Authorization": f"{scheme} {key}" if scheme else f"Basic {basic}"}

    def get(
        self, path: str, token: str = "", method: str = "GET", **headers: str
    ) -> tuple[int, str, bytes]:
        """Ask below /v2/ with the token."""
        fields = {"Accept": MANIFESTS}
        if token:
            fields["Authorization"] = f"Bearer {token}"
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask(method, f"/v2/{path}", fields)

    def pull(
        self,
        name: str,
        reference: str = "latest",
        key: str | None = None,
        method: str = "GET",
    ) -> tuple[str, bytes]:
        """Ask for a token and the manifest, and return both.

        A token that does not do is asked for again, as the challenge says.
        """
        token = self.token(name, key=key)
        path = f"{name}/manifests/{reference}"
        status, headers, body = self.get(path, token, method)
        scope = re.search(r'scope="repository:([^"]*):pull"', headers)
        if status == 401 and scope:
            token = self.token(scope[1], key=key)
            _, _, body = self.get(path, token, method)
        return token, body
