"""Seeds from TorchInductor: its C++ for references that the traced form cannot express, as kernel files."""
