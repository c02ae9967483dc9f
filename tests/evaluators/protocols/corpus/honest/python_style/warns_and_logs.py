"""Warns and logs in every call."""

# corpus: task=matmul language=python expect=ok

import logging
import warnings

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        warnings.warn("a product", stacklevel=2)
        logging.getLogger(__name__).info("a product of %s and %s", tuple(a.shape), tuple(b.shape))
        return a.matmul(b)
