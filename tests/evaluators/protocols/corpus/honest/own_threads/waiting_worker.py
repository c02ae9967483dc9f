"""Keeps one worker thread that waits for calls, and waits for its answer."""

# corpus: task=silu_gate language=python expect=ok

import queue
import threading

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls, self.answers = queue.Queue(), queue.Queue()
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self):
        while True:
            gate, x = self.calls.get()
            self.answers.put(torch.nn.functional.silu(gate) * x)

    def forward(self, gate, x):
        self.calls.put((gate.detach(), x.detach()))
        return self.answers.get()
