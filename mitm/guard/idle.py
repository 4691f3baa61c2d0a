"""mitmproxy's own addons that have nothing to do in mitmdump.

mitmproxy asks each of its thirty addons for each of a dozen events of a request: a
third of its work for a manifest. Where nobody can reach an addon, or its options leave
it without work, it is removed; in the interfaces all stay.
"""

import asyncio
from collections.abc import Collection
from contextlib import suppress

from mitmproxy import ctx, exceptions

START_SECONDS = 5
"""After so long nobody asks any more whether the start went well."""
IDLE_ADDONS = {
    "anticache": ("anticache",),
    "anticomp": ("anticomp",),
    "block": ("block_global", "block_private"),
    "blocklist": ("block_list",),
    "browser": (),
    "clientplayback": ("client_replay",),
    "commandhistory": (),
    "comment": (),
    "core": (),
    "cut": (),
    "disableh2c": (),
    "dnsresolver": (),
    "dumper": ("flow_detail",),
    "export": (),
    "keepserving": ("client_replay", "server_replay", "rfile"),
    "maplocal": ("map_local",),
    "mapremote": ("map_remote",),
    "modifybody": ("modify_body",),
    "modifyheaders": ("modify_headers",),
    "onboarding": ("onboarding",),
    "proxyauth": ("proxyauth",),
    "readfilestdin": ("rfile",),
    "save": ("save_stream_file",),
    "savehar": ("hardump",),
    "serverplayback": ("server_replay",),
    "stickyauth": ("stickyauth",),
    "stickycookie": ("stickycookie",),
    "stripdnshttpsrecords": (),
    "updatealtsvc": (),
    "upstreamauth": ("upstream_auth",),
}
"""Those without work, and the options that would give them some."""


def remove_idle_addons() -> Collection[str]:
    """Remove the addons without work, where nobody looks at flows.

    Returns the options that have no effect from now on.
    """
    addons = ctx.master.addons
    if addons.get("view") is not None:
        return ()
    idle_options: set[str] = set()
    for name, options in IDLE_ADDONS.items():
        addon = addons.get(name)
        if addon and not any(getattr(ctx.options, option) for option in options):
            with suppress(exceptions.AddonManagerError):
                # One would end asynchronously; it is out all the same.
                addons.remove(addon)
            idle_options.update(options)
    if errorcheck := addons.get("errorcheck"):
        loop = asyncio.get_running_loop()
        loop.call_later(START_SECONDS, addons.remove, errorcheck)
    return idle_options
