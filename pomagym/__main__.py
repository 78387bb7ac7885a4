"""`python -m pomagym`: the same as the console script."""

import sys

from pomagym.main import main

if __name__ == "__main__":
    sys.exit(main())
