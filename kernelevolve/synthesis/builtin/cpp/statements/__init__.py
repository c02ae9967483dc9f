"""The writers of statements as C++, one file per family of statements, and the C++ functions that they call."""
