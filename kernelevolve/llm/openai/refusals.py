"""Classification of an endpoint's error replies."""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Mapping
from typing import Any

from kernelevolve.llm.errors import LimitedError, ModelError, RefusedError, TooLongError, TransientError

_PASSING = {408, 409, 425}
_USED_UP = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
_TOO_LONG = re.compile(
    r"context.?(length|window|size)|maximum context|too many (input )?tokens|prompt is too long|input is too long|reduce the length",
    re.IGNORECASE,
)
_CONTEXT = re.compile(r"(?:maximum|max|context)[^.\d]{0,60}?(\d[\d,]{2,})", re.IGNORECASE)
_SHOWN = 300
"""The maximum number of characters of an endpoint's message that are shown."""


def refusal(status: int, headers: Mapping[str, str], body: bytes, *, where: str, key: str | None) -> ModelError:
    """Return the error for a reply without an answer.

    An error that comes with a status of success is treated as a fault of the endpoint.

    Args:
        status: The HTTP status.
        headers: The headers of the reply.
        body: The body of the reply.
        where: The URL.
        key: The environment variable that holds the key.
    """
    code, text = _words(body)
    message = f"{where} says {status}" + (f": {text}" if text else "")
    if status < 400:
        status = 400 if _says_too_long(code, text) else 500
    if status in (401, 403):
        mend = f"the key in ${key} is not accepted" if key else "it needs a key: llm.backend.key names its variable"
        return RefusedError(f"{message}; {mend}")
    if status == 429:
        if code in _USED_UP:
            return RefusedError(f"{message}; the account behind ${key} has no credit left")
        return LimitedError(message, retry_after(headers))
    if status == 413 or (status in (400, 422) and _says_too_long(code, text)):
        found = _CONTEXT.search(text)
        return TooLongError(message, int(found.group(1).replace(",", "")) if found else None)
    if status in _PASSING or status >= 500:
        return TransientError(message, retry_after(headers))
    return RefusedError(message)


def _says_too_long(code: str, text: str) -> bool:
    return code == "context_length_exceeded" or _TOO_LONG.search(text) is not None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the endpoint asks to wait, or None.

    The header holds a number or a date (RFC 9110, 10.2.3).
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("Retry-After", "").strip()
    seconds = _number(text)
    if seconds is not None or not text:
        return seconds
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def _number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if 0 <= found < float("inf") else None


def _words(body: bytes) -> tuple[str, str]:
    """Return the code and the message of an error's body, whatever its form."""
    text = body.decode(errors="replace").strip()
    try:
        found: Any = json.loads(text)
    except ValueError:
        return "", _shown(re.sub(r"<[^>]*>", " ", text))
    error = found.get("error", found) if isinstance(found, dict) else found
    if isinstance(error, dict):
        code = error.get("code") or error.get("type")
        message = error.get("message") or error.get("detail") or ""
        return str(code or ""), _shown(str(message))
    return "", _shown(str(error))


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 3] + "..."
