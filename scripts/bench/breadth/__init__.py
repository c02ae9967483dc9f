"""How many of KernelBench's problems end with a correct kernel, how fast, and why the others do not."""
