"""`python -m kernelevolve`: the command line from a checkout that is not installed."""

import os
import sys

if not os.path.samefile(os.getcwd(), os.path.dirname(os.path.dirname(os.path.abspath(__file__)))):
    # `python -m` puts the current folder first in sys.path: a user's copy.py there would shadow the standard library's.
    sys.path[:] = [entry for entry in sys.path if entry not in ("", os.getcwd())]

from kernelevolve.cli import main

if __name__ == "__main__":
    sys.exit(main())
