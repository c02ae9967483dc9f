"""Tables of whole spaces of kernels, on which searches are replayed without evaluations."""
