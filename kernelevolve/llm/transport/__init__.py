"""The way of a request from a client to the model actor: the messages, the server and the connection."""
