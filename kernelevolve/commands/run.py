"""`kernelevolve run`."""

from __future__ import annotations

from collections.abc import Sequence

from kernelevolve.commands.arguments import parser

EXAMPLES = """Settings that scripts rely on: task= run.dir= budget.seconds= budget.evaluations= seed= islands.count= search= operator=
device=. `--cfg job` prints all of them. With -m, `seed=0,1` or `seed=range(0,5)` runs every combination, each in its own folder; with -j N,
N of them run in parallel."""


def main(arguments: Sequence[str]) -> int:
    """Compose the settings and run them, once or for every combination."""
    line = parser("run", "Evolve a task's operator into a faster kernel.", EXAMPLES)
    line.add_argument("overrides", nargs="*", metavar="key=value", help="a setting")
    line.add_argument("-m", "--multirun", action="store_true", help="run every combination of listed values")
    line.add_argument("-j", "--jobs", type=int, default=1, metavar="N", help="with -m: the number of runs in parallel")
    line.add_argument("--cfg", choices=["job"], help="print the settings and do nothing")
    line.add_argument("-q", "--quiet", action="store_true", help="print only the result")
    options = line.read(arguments)
    if options.jobs < 1:
        line.error("--jobs must be at least 1")
    if options.jobs > 1 and not options.multirun:
        line.error("--jobs is for runs of a sweep: give -m too")

    from kernelevolve import config
    from kernelevolve.tasks.catalog import find_task

    if options.cfg:
        import yaml

        for job in config.sweep(options.overrides) if options.multirun else [options.overrides]:
            print(yaml.safe_dump(config.compose(job), sort_keys=False), end="")
        return 0

    combinations = config.sweep(options.overrides) if options.multirun else [options.overrides]
    jobs = [config.load(combination) for combination in combinations]
    for job in jobs:
        find_task(job.task)

    # These modules import torch and Ray, so they are imported only after the settings are checked.
    if len(jobs) > 1 and options.jobs > 1:
        from kernelevolve.sweeping.side_by_side import run_side_by_side

        return run_side_by_side(list(zip(combinations, jobs, strict=True)), options.jobs, quiet=options.quiet)
    from kernelevolve import run

    return run.start_many(jobs, quiet=options.quiet)
