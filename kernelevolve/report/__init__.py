"""What people look at: the live view, the final table, run.json."""
