"""Many runs: `side_by_side` for the combinations of settings of one command, `sweep` for many tasks."""
