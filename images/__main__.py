"""``python -m images``: lock, check, build, describe and choose images."""

import sys

from images.tooling.cli import main

sys.exit(main())
