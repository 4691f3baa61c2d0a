"""``python -m resolver <reference>``; see `resolver.release.command`.

This file and the package's own are read by every Python, and the rest by Python 3.12.
"""

import sys

if sys.version_info < (3, 12):  # noqa: UP036 - whoever has an older one is told so
    sys.exit(
        "resolver needs Python 3.12 or newer, and this is Python {}.{}: use another"
        " one, or make resolve REF=<org>/<app>, which looks for one".format(
            *sys.version_info
        )
    )

import os
from argparse import ArgumentParser

from resolver.release import command

if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m resolver", description=command.__doc__)
    command.add_arguments(parser)
    sys.exit(command.run(parser.parse_args(), os.environ))
