"""`python -m bp_pipeline.cli` is `bp`."""

import sys

from bp_pipeline.cli import main

sys.exit(main())
