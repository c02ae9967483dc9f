"""Models that write kernels: one seam, its backends, and the one actor that all islands of a run share."""
