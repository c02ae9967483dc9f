"""From what a model says to a kernel's source: whole files, SEARCH/REPLACE blocks, unified diffs, however they are wrapped."""
