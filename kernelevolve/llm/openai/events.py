"""Server-sent events (WHATWG HTML, 9.2), limited to what endpoints use.

An event consists of `data:` lines, followed by an empty line.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

_END = "[DONE]"


async def events(chunks: AsyncIterator[bytes]) -> AsyncIterator[Mapping[str, Any]]:
    """Yield the JSON objects of a stream until it says that it is done or ends.

    Raises ValueError for an event that is not one.
    """
    pending = b""
    data: list[str] = []
    async for chunk in chunks:
        pending += chunk
        *lines, pending = pending.split(b"\n")
        for line in lines:
            text = line.rstrip(b"\r").decode()
            if text.startswith("data:"):
                data.append(text[5:].removeprefix(" "))
            elif not text and data:
                whole, data = "\n".join(data), []
                if whole.strip() == _END:
                    return
                yield _object(whole)
    if data and "\n".join(data).strip() != _END:
        yield _object("\n".join(data))


def _object(text: str) -> Mapping[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError(f"an event that is a {type(found).__name__}")
    return found
