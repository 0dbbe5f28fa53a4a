"""`python -m molflt` is the command `molflt`."""

import sys

from molflt.cli import main

if __name__ == "__main__":
    sys.exit(main())
