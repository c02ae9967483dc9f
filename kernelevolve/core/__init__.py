"""The data records of a run, fitness and termination. No module here imports torch or Ray."""
