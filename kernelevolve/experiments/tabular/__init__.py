"""Tables of whole spaces of kernels that are measured once, so that searches can be replayed on them without
evaluations.
"""
