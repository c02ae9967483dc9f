"""`python -m kernelevolve`: the command line from a checkout that is not installed."""

import sys

from kernelevolve.cli import main

if __name__ == "__main__":
    sys.exit(main())
