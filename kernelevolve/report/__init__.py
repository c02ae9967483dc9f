"""The output of a run: the live view, the final table, `run.json` and `best/`."""
