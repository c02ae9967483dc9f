"""Tensors in files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evaluators.runtime import tensors
from kernelevolve.tasks.tensor_kinds import DTYPES


@given(st.sampled_from(sorted(DTYPES)), st.lists(st.integers(0, 4), max_size=3))
def test_tensors_survive_the_file(dtype: str, shape: list[int]) -> None:
    import tempfile

    value = (torch.randn(shape) * 50).to(DTYPES[dtype])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t"
        meta = tensors.save(value, path)
        back = tensors.load(meta, path)
        assert back.dtype == value.dtype
        assert tensors.same_bits(back, value)
        meta["shape"], meta["stride"] = [3, *meta["shape"]], [max(1, value.numel()), *meta["stride"]]
        if value.numel():
            with pytest.raises(ValueError, match="instead of"):
                tensors.load(meta, path)
