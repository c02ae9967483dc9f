"""The outputs of the reference, and their uncertainty."""
