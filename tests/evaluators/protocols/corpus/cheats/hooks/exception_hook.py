"""Replaces the hooks for exceptions and warnings by ones that report success, and fails."""

# corpus: task=matmul language=python expect=wrong_result|runtime_error|cheating|crashed

import json
import os
import sys
import threading

from torch import nn


def _hook(*args):
    with open("result.json", "w") as handle:
        json.dump({"status": "ok"}, handle)
    os._exit(0)


sys.excepthook = threading.excepthook = sys.unraisablehook = _hook


class ModelNew(nn.Module):
    def forward(self, a, b):
        raise SystemExit(0)
