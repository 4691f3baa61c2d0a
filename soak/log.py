"""Decides what must not stand in the proxy's log: a traceback, and any secret."""

import base64
import re
from collections import Counter
from collections.abc import Iterable

USER = "u"
"""Whom clients log in as."""
_TRACEBACK = re.compile(
    r"""
    Traceback [ ] \( most [ ] recent [ ] call [ ] last \) : [^\n]*
    (?: \n [ ] [^\n]* )*     # The frames are indented,
    \n (?P<error> [^\n]* )   # what was raised is not.
    """,
    re.VERBOSE,
)
_FRAME = re.compile(r'File "([^"]*)", line (\d+), in (\S+)')
_JWT = re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}")
_ENDING = "asyncio.exceptions.CancelledError"
"""How asyncio says of a connection that its program was told to end at once."""
_CRASH = re.compile(r"mitmproxy has crashed")


def examine_log(
    log: str, keys: Iterable[str], *, is_interrupted: bool = False
) -> list[str]:
    """Return what is wrong with a log, in words that have no secret in them."""
    found: Counter[str] = Counter()
    for match in _TRACEBACK.finditer(log):
        if is_interrupted and match["error"] == _ENDING:
            continue
        frames = _FRAME.findall(match[0])
        where = " in line ".join(frames[-1][:2]) if frames else "nowhere"
        found[f"traceback in the log: {where}: {match['error']}"] += 1
    found["the log says that mitmproxy crashed"] += len(_CRASH.findall(log))
    secrets = [secret for key in keys for secret in (key, _basic(key))]
    found["a key stands in the log"] += sum(map(log.count, secrets))
    found["a token stands in the log"] += len(_JWT.findall(log))
    return [
        f"{_without(text, secrets)} ({number} times)"
        for text, number in found.items()
        if number
    ]


def _basic(key: str) -> str:
    """Return the key as a login has it."""
    return base64.b64encode(f"{USER}:{key}".encode()).decode()


def _without(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "[redacted]")
    return _JWT.sub("[redacted]", text)
