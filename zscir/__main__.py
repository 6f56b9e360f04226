"""``python -m zscir``: the same as the command ``zscir``."""

import sys

from zscir.cli import main

if __name__ == "__main__":
    sys.exit(main())
