"""What is known about writing kernels: the library of documents, and the store that they are retrieved from."""
