"""Extraction of kernel sources from model answers: whole files, SEARCH/REPLACE blocks and unified diffs."""
