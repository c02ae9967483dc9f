"""Where tasks come from: KernelBench files, and suites that we ship. `catalog` finds them, `loading` runs them."""
