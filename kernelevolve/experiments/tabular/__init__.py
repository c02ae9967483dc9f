"""Tables of whole spaces of kernels, measured once, on which searches are replayed at no cost."""
