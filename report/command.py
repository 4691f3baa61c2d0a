"""Make a page about the pulls in a flow file.

FLOWS is what mitmproxy saves: with ``-w``, with the download of mitmweb, or with the
key ``w`` of its console.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from report.grouping import group_requests
from report.page import Page, render
from report.recording import RecordingError, read_recording


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flow file and the page."""
    parser.add_argument("flows", metavar="FLOWS", nargs="?", help="the flow file")
    parser.add_argument(
        "-o",
        "--output",
        metavar="PAGE",
        type=Path,
        help="the page, otherwise <flow file>.html here",
    )


def run(options: argparse.Namespace, _environment: Mapping[str, str]) -> int:
    """Make the page, print where it is, and return the exit status."""
    try:
        sys.stdout.write(f"{_make(options.flows, options.output)}\n")
    except RecordingError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _make(flows: str | None, output: Path | None) -> str:
    """Write the page, and return what is to be said of it.

    Raises:
        RecordingError: there is nothing to make it of, or nowhere to put it.

    """
    if not flows:
        raise RecordingError("FLOWS is missing: make report FLOWS=<flow file>")
    source = Path(flows)
    target = output or Path(f"{source.name}.html")
    recording = read_recording(source)
    page = Page(recording, group_requests(recording.requests))
    try:
        if target.exists() and target.samefile(source):
            raise RecordingError(f"{target} is the flow file itself; name another page")
        target.write_text(render(page), encoding="utf-8", errors="replace")
    except OSError as error:
        raise RecordingError(f"{target}: {error.strerror or error}") from error
    return f"{page.summary}: {target.resolve()}"
