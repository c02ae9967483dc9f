"""A task that is quick to judge, for tests of everything around it."""

SOURCE = """import torch


class Model(torch.nn.Module):
    def forward(self, x):
        return torch.nn.functional.gelu(x) * 2.0


def get_inputs():
    return [torch.randn(64, 512)]
"""
