"""Tasks: KernelBench files and the shipped suites. `catalog` finds them, `loading` runs them."""
