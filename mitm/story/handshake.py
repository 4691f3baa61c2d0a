"""TLS handshakes of clients that came to nothing, as if each were a request.

mitmproxy has a flow for a request alone. So that the page of pulls can show a client
that never came to ask for anything, one is made here, which nobody else sees.
"""

import time
from typing import Self

from mitmproxy import connection, http, tls

from cause.certificate import Certificate
from cause.finding import Finding
from cause.handshake import blames_certificate, handshake_failed, spoke_tls
from mitm import redaction
from mitm.story.kind import Kind, Outcome
from mitm.story.record import Record


def flow_of(client: connection.Client) -> tuple[http.HTTPFlow, Record]:
    """Return what stands for a handshake that came to nothing."""
    flow = http.HTTPFlow(client, connection.Server(address=None))
    # It never goes anywhere: this is no URL.
    flow.request = http.Request.make("GET", "http://localhost/")
    flow.request.timestamp_start = client.timestamp_start or time.time()
    record = Record(flow.id, client.peername, method="", kind=Kind.HANDSHAKE)
    record.connection, record.outcome = client.id, Outcome.ABORTED
    record.seconds = 0.0
    return flow, record


class Handshake:
    """One of them, of which is told once no request came from its client."""

    def __init__(
        self,
        client: connection.Client,
        words: str | None = None,
        certificate: Certificate | None = None,
    ) -> None:
        """Take note of it.

        Args:
            client: who began it.
            words: mitmproxy's, why it failed; None where this port has no TLS.
            certificate: the one that the client was shown, if it came to that.

        """
        self.client = client
        self._words = words
        self._certificate = certificate

    @classmethod
    def failed(cls, data: tls.TlsData) -> Self:
        """Return one that failed."""
        line = data.ssl_conn
        own = line.get_certificate(as_cryptography=True) if line else None
        certificate = Certificate.of(own) if own else None
        words = redaction.without_hello(data.conn.error or "")
        return cls(data.context.client, words, certificate)

    @property
    def blames_certificate(self) -> bool:
        """Whether the client left because of the certificate that it was shown."""
        is_shown = self._certificate is not None and self._words is not None
        return is_shown and blames_certificate(self._words or "")

    def finding(self, seconds: float) -> Finding:
        """Return what is wrong, where no request came in so many seconds."""
        if self._words is None:
            return spoke_tls(seconds)
        host, port = self.client.sockname[:2]
        return handshake_failed(
            self._words,
            self._certificate,
            name=self.client.sni or str(host),
            port=port,
            now=time.time(),
            seconds=seconds,
        )
