"""Writes files of a gigabyte to its own folder and to the common ones."""

# corpus: task=silu_gate language=python expect=runtime_error|crashed|timeout|out_of_memory

from torch import nn


class ModelNew(nn.Module):
    def forward(self, gate, x):
        for folder in (".", "/tmp", "/dev/shm", "/var/tmp"):
            try:
                with open(f"{folder}/huge", "wb") as handle:
                    for _ in range(4096):
                        handle.write(bytes(1 << 20))
            except OSError:
                continue
        raise RuntimeError("nothing held it back")
