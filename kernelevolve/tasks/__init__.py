"""Where tasks come from: KernelBench files, and the suites that are shipped. `catalog` finds them, `loading` runs them."""
