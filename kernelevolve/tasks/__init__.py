"""Tasks: files, the shipped suites, KernelBench's problems, PyTorch's operators.

`catalog` finds them, `selection` names many at once, `loading` runs them.
"""
