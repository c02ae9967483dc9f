"""Writes a result file with good times and leaves at once."""

# corpus: task=matmul language=python expect=wrong_result|cheating|crashed|runtime_error

import json
import os

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        good = {"status": "ok", "samples": {"reference": [1.0] * 8, "kernel": [0.01] * 8}, "cases": []}
        for name in ("result.json", "../result.json", "verdict.json", "status"):
            try:
                with open(name, "w") as handle:
                    json.dump(good, handle)
            except OSError:
                pass
        os._exit(0)
