"""Reads the parent's memory for something of the result's size."""

# corpus: task=silu_gate language=python expect=wrong_result|cheating|runtime_error|crashed

import os

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, gate, x):
        size = x.numel() * 4
        try:
            with open(f"/proc/{os.getppid()}/maps") as maps, open(f"/proc/{os.getppid()}/mem", "rb") as memory:
                for line in maps:
                    begin, end = (int(part, 16) for part in line.split()[0].split("-"))
                    if " rw" in line and end - begin >= size:
                        memory.seek(begin)
                        return torch.frombuffer(bytearray(memory.read(size)), dtype=torch.float32).view(x.shape)
        except (OSError, ValueError):
            pass
        return torch.zeros_like(x)
