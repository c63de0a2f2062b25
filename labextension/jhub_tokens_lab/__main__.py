"""``python -m jhub_tokens_lab status``, for images: they put ``jhub-tokens`` on the path."""

from __future__ import annotations

import sys

from jhub_tokens_lab.status import main

if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[:1] != ["status"]:
        print("usage: jhub-tokens status [--json] [--server NAME]", file=sys.stderr)
        sys.exit(2)
    sys.exit(main(arguments[1:]))
