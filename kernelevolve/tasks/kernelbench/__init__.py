"""KernelBench's problems as tasks: `problems` reads them, `source` gives them names."""
