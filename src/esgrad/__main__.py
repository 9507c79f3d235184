"""`python -m esgrad`, and `torchrun -m esgrad` for several processes: the command line."""

import sys

from esgrad.cli import console

if __name__ == "__main__":
    sys.exit(console())
