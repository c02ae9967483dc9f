"""The base of every record: frozen, validated when built, with a stable content hash."""

from __future__ import annotations

import hashlib
from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Immutable data. Building one with an unknown field, or an illegal value, raises `pydantic.ValidationError`."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")


def content_id(*parts: str) -> str:
    """A 16-digit hexadecimal id of the given texts; their boundaries count, their number counts."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:16]
