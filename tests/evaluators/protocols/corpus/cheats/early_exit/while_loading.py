"""Ends the process with code 0 while the file is loaded."""

# corpus: task=map_id language=python expect=crashed|cheating|invalid_source|runtime_error

import os

from torch import nn

os._exit(0)


class ModelNew(nn.Module):
    def forward(self, ids):
        return ids
