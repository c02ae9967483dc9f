"""Where tasks come from: KernelBench files and folders, and the suites that we ship."""
