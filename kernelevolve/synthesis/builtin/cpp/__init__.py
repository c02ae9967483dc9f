"""The C++ writer, which turns scheduled groups into one source file with a C interface."""
