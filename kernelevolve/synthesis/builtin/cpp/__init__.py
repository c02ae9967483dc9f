"""The C++ writer: from scheduled groups to one source file with a plain C interface."""
