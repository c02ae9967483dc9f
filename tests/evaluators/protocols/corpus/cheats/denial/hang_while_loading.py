"""Sleeps while the file is loaded."""

# corpus: task=map_id language=python expect=timeout

import time

from torch import nn

time.sleep(3600)


class ModelNew(nn.Module):
    def forward(self, ids):
        return ids
