"""What clients get while the addon is not there: nothing.

Where the script is loaded anew and has an error, mitmproxy goes on without it, and
would forward every request to the registry as it comes.
"""

from mitmproxy import connection as mitmproxy_connection
from mitmproxy import ctx

NAME = "balena_absence"


class Absence:
    """Stands for the addon after it is gone, and turns clients away."""

    name = NAME

    def client_connected(self, client: mitmproxy_connection.Client) -> None:
        """Close the connection."""
        client.error = "the registry proxy is not loaded"


def begin() -> None:
    """Turn clients away from now on."""
    if NAME not in ctx.master.addons.lookup:
        ctx.master.addons.add(Absence())


def end() -> None:
    """Let clients in again."""
    if absence := ctx.master.addons.get(NAME):
        ctx.master.addons.remove(absence)
