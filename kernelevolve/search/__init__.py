"""Search strategies. They only make decisions: no module here does I/O or imports Ray."""
