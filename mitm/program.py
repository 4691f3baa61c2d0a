"""A program of mitmproxy's in this process: ``python -m mitm.program mitmdump …``.

It is what `registry-proxy run` becomes once the environment is read. mitmproxy is
loaded last, because that takes a second.
"""

import io
import logging
import sys
from collections.abc import Sequence

from mitm import interrupt, output

PROGRAMS = ("mitmdump", "mitmweb", "mitmproxy")


def run(program: str, arguments: Sequence[str]) -> None:
    """Run it until it ends."""
    interrupt.install()
    if program == "mitmdump":
        output.guard()
    else:
        _write_lines(sys.stdout, sys.stderr)
    from mitmproxy.tools import main  # noqa: PLC0415

    # "Loading script" comes before this addon, and so in another format than the rest.
    logging.getLogger("mitmproxy.addons.script").setLevel(logging.WARNING)

    sys.argv = [program, *arguments]
    try:
        getattr(main, program)(arguments)
    finally:
        # Its own way of Ctrl-C ended with its loop.
        interrupt.install()


def _write_lines(*streams: object) -> None:
    """Write each line at once, with any character whatever the locale."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", line_buffering=True)


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2:])
