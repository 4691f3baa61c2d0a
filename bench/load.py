"""Decides how many clients ask at once, from a process of their own.

In the process that measures, or in that of the proxy, they would count as its work.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bench.client import Client
from bench.visit import Step, Visit
from bench.wire import BadAnswer, trusting_context
from bench.worker import Pipe, working


class LoadError(RuntimeError):
    """The clients could not go on; the message says why."""


@dataclass(frozen=True, slots=True)
class Task:
    """What clients are to do."""

    port: int
    visits: tuple[Visit, ...]
    """Of each client one, in turn."""
    clients: int
    seconds: float
    first: tuple[Step, ...] = ()
    """What each does first, unmeasured."""
    is_tls: bool = False
    is_kept: bool = True
    """Whether a client keeps its connection; else each request has one of its own."""
    is_rehearsed: bool = True
    """Whether each makes its visit once before it is measured."""


@dataclass(frozen=True, slots=True)
class Work:
    """What they did."""

    visits: tuple[float, ...]
    """How long each took."""
    length: int
    """Bytes of all bodies."""
    seconds: float


class Load:
    """The clients, behind a pipe."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    def prepare(self, task: Task) -> None:
        """Let the clients come, and do what is not measured.

        Raises:
            LoadError: they cannot.

        """
        self._pipe.send(task)
        self._receive()

    def work(self) -> Work:
        """Let them work.

        Raises:
            LoadError: something was not answered as it has to be.

        """
        self._pipe.send("work")
        work = self._receive()
        if not isinstance(work, Work):
            raise LoadError("the clients said nothing of their work")
        return work

    def _receive(self) -> object:
        try:
            received = self._pipe.recv()
        except EOFError as error:
            raise LoadError("the clients' process ended") from error
        if isinstance(received, LoadError):
            raise received
        return received


@contextmanager
def running_load() -> Iterator[Load]:
    """Have a process in which clients work, until the context ends."""
    with working(_serve) as pipe:
        yield Load(pipe)


def _serve(pipe: Pipe) -> None:
    """Do one task after the other, until the pipe is closed."""
    while True:
        task = pipe.recv()
        if isinstance(task, Task):
            _do(task, pipe)


def _do(task: Task, pipe: Pipe) -> None:
    with ExitStack() as stack:
        try:
            clients = _clients(task, stack)
            pipe.send(None)
            pipe.recv()
            work = _work(clients, task.seconds)
        except (BadAnswer, OSError, LookupError, ValueError) as error:
            pipe.send(LoadError(str(error) or type(error).__name__))
        else:
            pipe.send(work)


def _clients(task: Task, stack: ExitStack) -> list[Client]:
    tls = trusting_context() if task.is_tls else None
    clients = []
    for number in range(task.clients):
        visit = task.visits[number % len(task.visits)]
        client = Client(task.port, visit, tls=tls, is_kept=task.is_kept)
        stack.callback(client.close)
        client.prepare((*task.first, *visit) if task.is_rehearsed else task.first)
        clients.append(client)
    return clients


def _work(clients: Sequence[Client], seconds: float) -> Work:
    began = time.monotonic()
    failures: list[Exception] = []

    def work(client: Client) -> None:
        try:
            client.work(began + seconds)
        except (BadAnswer, OSError, LookupError, ValueError) as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=[client]) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    records = [client.record for client in clients]
    return Work(
        visits=tuple(taken for record in records for taken in record.seconds),
        length=sum(record.length for record in records),
        seconds=time.monotonic() - began,
    )
