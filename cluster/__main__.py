"""Entry point of `python3 -m cluster`; the commands are in `cluster.cli`."""

import sys

from cluster.cli import main

sys.exit(main())
