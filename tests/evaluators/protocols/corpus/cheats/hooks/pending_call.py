"""Has the interpreter call it back once it is out of forward and does the work there."""

# corpus: task=faint_tanh language=python expect=wrong_result|crashed

import ctypes
import threading

import torch
from torch import nn

OWED = []


@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
def _fill(_):
    while OWED:
        x, y = OWED.pop()
        y.copy_(torch.tanh(x) * 1e-5)
    return 0


class ModelNew(nn.Module):
    def forward(self, x):
        y = torch.empty_like(x)
        OWED.append((x, y))
        threading.Timer(0.01, ctypes.pythonapi.Py_AddPendingCall, (_fill, None)).start()
        return y
