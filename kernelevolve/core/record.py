"""The base class of all records: frozen and validated. Also stable content hashes."""

from __future__ import annotations

import hashlib
from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Immutable data. Building one with an unknown field or an illegal value raises `pydantic.ValidationError`."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")


def content_id(*parts: str) -> str:
    """Return a hash of the texts as 16 hexadecimal digits. How the text is split into parts matters."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:16]
