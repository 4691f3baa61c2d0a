"""Makes the visits of a client, one after the other, and checks each answer."""

import json
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.visit import TOKEN_PLACE, Step, Visit
from bench.wire import BadAnswer, Wire


@dataclass(slots=True)
class Record:
    """What a client did."""

    seconds: list[float] = field(default_factory=list)
    """How long each visit took."""
    length: int = 0
    """Bytes of all bodies."""


class Client:
    """Makes one visit again and again, with one connection or with many."""

    def __init__(
        self, port: int, visit: Visit, *, tls: ssl.SSLContext | None, is_kept: bool
    ) -> None:
        self._port = port
        self._tls = tls
        self._visit = visit
        self._wire = Wire(port, tls) if is_kept else None
        self._token = b""
        self.record = Record()

    def prepare(self, steps: Sequence[Step]) -> None:
        """Do what is not measured: get a token, open what is kept."""
        for step in steps:
            self._make(step)
        self.record = Record()

    def work(self, until: float) -> None:
        """Make visits until then; one at least.

        Raises:
            BadAnswer: an answer was not the one that had to come.
            OSError: the connection broke, or nothing came for long.

        """
        ended = time.monotonic()
        while not self.record.seconds or ended < until:
            began = ended
            for step in self._visit:
                self._make(step)
            ended = time.monotonic()
            self.record.seconds.append(ended - began)

    def close(self) -> None:
        """Let go of the connection."""
        if self._wire:
            self._wire.close()

    def _make(self, step: Step) -> None:
        request = step.request.replace(TOKEN_PLACE, self._token)
        if self._wire:
            answer = self._wire.ask(request)
        else:
            with Wire(self._port, self._tls) as wire:
                answer = wire.ask(request)
        if answer.status != step.expected:
            asked = step.request.partition(b"\r\n")[0].decode()
            raise BadAnswer(f"{asked}: {answer.status} in place of {step.expected:d}")
        self.record.length += answer.length
        if step.gives_token:
            self._token = json.loads(answer.content)["token"].encode()
