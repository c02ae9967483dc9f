"""Language models that write kernels: the backends, and the actor that all islands of a run share."""
