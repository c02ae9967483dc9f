"""Forks three processes, which fork three each, four times over; all of them stay."""

# corpus: task=silu_gate language=python expect=timeout|crashed|runtime_error|out_of_memory

import os
import time

from torch import nn


class ModelNew(nn.Module):
    def forward(self, gate, x):
        for _ in range(4):
            for _ in range(3):
                if os.fork() == 0:
                    break
        time.sleep(60)
