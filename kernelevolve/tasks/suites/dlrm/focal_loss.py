"""Sigmoid focal loss, averaged over samples and objectives.

Training of click and conversion heads: positives are rare, and easy negatives must not drown them.
"""

import torch
from torch import nn
from torch.nn import functional as F

ROWS, OBJECTIVES = 65536, 8


class Model(nn.Module):
    def __init__(self, alpha: float, gamma: float) -> None:
        super().__init__()
        self.alpha = alpha
        self.gamma = gamma

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """(rows, objectives), labels 0.0 or 1.0 of the same shape -> scalar."""
        probability = torch.sigmoid(logits)
        entropy = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
        hit = probability * labels + (1 - probability) * (1 - labels)
        weight = self.alpha * labels + (1 - self.alpha) * (1 - labels)
        return (weight * (1 - hit) ** self.gamma * entropy).mean()


def _inputs(rows: int) -> list:
    return [torch.randn(rows, OBJECTIVES) * 2 - 2, (torch.rand(rows, OBJECTIVES) < 0.1).float()]


def get_inputs() -> list:
    return _inputs(ROWS)


def get_input_variants() -> dict:
    return {"rows_1000": _inputs(1000), "rows_37": _inputs(37)}


def get_init_inputs() -> list:
    return [0.25, 2.0]
