"""Describes the product in a dataclass with annotations."""

# corpus: task=matmul language=python expect=ok

import dataclasses

import torch
from torch import nn


@dataclasses.dataclass(frozen=True)
class Product:
    left: torch.Tensor
    right: torch.Tensor

    @property
    def value(self) -> torch.Tensor:
        return self.left.mm(self.right)


class ModelNew(nn.Module):
    def forward(self, a, b):
        return Product(a, b).value
