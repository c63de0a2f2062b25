"""``python -m jhub_tokens``: the same as the command ``jhub-tokens``."""

import sys

from jhub_tokens.cli import main

if __name__ == "__main__":
    sys.exit(main())
