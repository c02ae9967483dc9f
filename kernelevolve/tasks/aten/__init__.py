"""Operators of PyTorch's OpInfo database as tasks.

`source` gives them names and asks a process of its own, `making`, which makes a task from one sample of the database: `database` and
`samples` read it, `calls` takes a sample apart, `drawing` and `cases` find out how its tensors may be drawn, `growing` enlarges them,
`writing` writes the file.
"""
