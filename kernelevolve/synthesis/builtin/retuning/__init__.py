"""Tuning of the values in the text of any kernel file, whoever wrote it."""
