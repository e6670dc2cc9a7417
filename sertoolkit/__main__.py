"""``python -m sertoolkit``."""

import sys

from sertoolkit.cli import main

sys.exit(main())
