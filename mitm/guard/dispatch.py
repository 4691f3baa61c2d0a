"""Decides how mitmproxy finds those of its addons that take an event.

It asks all of its thirty addons, and each of their addons, for each of the dozen events
of a request: a third of its work for a manifest. Who takes an event changes only where
an addon comes or goes, so it can be found once.

This takes the place of one method of mitmproxy's, `AddonManager.trigger_event`, and
does what that does: the same handlers in the same order, one chain of addons not
hindered by another's error. It is left alone where mitmproxy's own code is not the one
that this was written for.
"""

import hashlib
import inspect
import logging
from collections.abc import Callable
from typing import Any

from mitmproxy import addonmanager, exceptions, hooks

logger = logging.getLogger(__name__)

KNOWN_CODE = "3c199e9c94b3c5de"
"""Digest of the methods of mitmproxy 12.3 that are stood in for, or relied on."""
_STOOD_IN_FOR = (
    addonmanager.AddonManager.trigger_event,
    addonmanager.AddonManager.invoke_addon,
    addonmanager.AddonManager._iter_hooks,  # noqa: SLF001
    addonmanager.AddonManager.handle_lifecycle,
    addonmanager.AddonManager.register,
    addonmanager.AddonManager.remove,
    addonmanager.AddonManager.clear,
    addonmanager.traverse,
)

type _Handler = Callable[..., Any]


def is_known() -> bool:
    """Return whether mitmproxy's own code is the one that this was written for."""
    try:
        return code_digest() == KNOWN_CODE
    except OSError:
        return False  # There is no source to look at.


def code_digest() -> str:
    """Return what tells the code from another version's.

    Raises:
        OSError: there is no source.

    """
    code = "".join(inspect.getsource(part) for part in _STOOD_IN_FOR)
    return hashlib.sha256(code.encode()).hexdigest()[:16]


class Dispatch:
    """Remembers, for each event, who takes it."""

    def __init__(self, manager: addonmanager.AddonManager) -> None:
        self._manager = manager
        self._takers: dict[str, list[list[_Handler]]] = {}

    def install(self) -> bool:
        """Stand in for mitmproxy's own way; return whether that is done."""
        if not is_known():
            logger.info(
                "balena_fast_events has no effect: this version of mitmproxy is another"
                " than the one that it was made for"
            )
            return False
        manager = self._manager
        manager.trigger_event = self.trigger_event  # type: ignore[method-assign]
        for name in ("register", "remove", "clear"):
            setattr(manager, name, self._forgetting(getattr(manager, name)))
        return True

    def uninstall(self) -> None:
        """Let mitmproxy go its own way again."""
        for name in ("trigger_event", "register", "remove", "clear"):
            vars(self._manager).pop(name, None)

    async def trigger_event(self, event: hooks.Hook) -> None:
        """Let everybody who takes the event have it."""
        takers = self._takers.get(event.name)
        if takers is None:
            takers = self._takers[event.name] = self._find(event)
        args = event.args()
        for handlers in takers:
            try:
                with addonmanager.safecall():
                    for handler in handlers:
                        result = handler(*args)
                        if result is not None and inspect.isawaitable(result):
                            await result
            except exceptions.AddonHalt:
                return

    def _find(self, event: hooks.Hook) -> list[list[_Handler]]:
        """Return the handlers of each chain of addons that has any."""
        found = (self._handlers(addon, event) for addon in self._manager.chain)
        return [handlers for handlers in found if handlers]

    def _handlers(self, addon: object, event: hooks.Hook) -> list[_Handler]:
        handlers: list[_Handler] = []
        # Something by the name of an event that is no handler is logged, as each time.
        with addonmanager.safecall():
            for _, handler in self._manager._iter_hooks(addon, event):  # noqa: SLF001
                handlers.append(handler)
        return handlers

    def _forgetting(self, change: _Handler) -> _Handler:
        """Return the method, after which nothing is remembered."""

        def changed(*args: Any) -> Any:
            try:
                return change(*args)
            finally:
                self._takers.clear()

        return changed
