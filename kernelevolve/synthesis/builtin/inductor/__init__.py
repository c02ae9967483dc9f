"""Seeds from TorchInductor: its C++ for a reference that the traced form cannot express, as a kernel file of our kind."""
