"""Islands: populations that run as Ray actors and exchange kernels by migration."""
