"""The evaluation service: evaluation with Ray actors and tasks, and without Ray in one process."""
