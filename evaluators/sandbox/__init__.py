"""The sandbox of untrusted kernels: file access, system calls, resource limits and PyTorch's operators."""
