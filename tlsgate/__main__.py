"""``python -m tlsgate`` is the command ``tlsgate``."""

import sys

from tlsgate.cli import main

if __name__ == "__main__":
    sys.exit(main())
