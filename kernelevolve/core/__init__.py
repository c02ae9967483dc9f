"""The records of a run, fitness and termination: plain data, no torch, no Ray, no I/O."""
