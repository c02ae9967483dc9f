"""A task that is quick to judge, for tests of everything around it."""

SOURCE = """import torch


class Model(torch.nn.Module):
    def forward(self, x):
        return torch.nn.functional.gelu(x) * 2.0


def get_inputs():
    return [torch.randn(64, 512)]


def get_input_variants():
    return {"rows_3": [torch.randn(3, 512)]}
"""
QUICK = ("final.compile=false", "evaluation.final.max_seconds=0.5", "final.candidates=2")
"""Settings of a run: the last measurement as short as it can be."""


def kernel(factor: float = 2.0) -> str:
    """A kernel of it, which is right with a factor of 2."""
    return SOURCE.replace("class Model(", "class ModelNew(").replace("* 2.0", f"* {factor}")
