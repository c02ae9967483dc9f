"""The traced form: what a reference computes, as index-based statements that all code writers share."""
