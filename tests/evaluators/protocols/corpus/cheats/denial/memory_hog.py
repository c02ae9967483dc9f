"""Takes 8 GB in pieces and keeps them."""

# corpus: task=row_softmax language=python expect=out_of_memory|crashed|timeout

from torch import nn

KEPT = []


class ModelNew(nn.Module):
    def forward(self, x):
        for _ in range(128):
            KEPT.append(bytearray(b"x") * (64 << 20))
        raise RuntimeError("nothing held it back")
