"""The traced form: what an operator computes, as index-based statements that every code writer shares."""
