"""Module entry point: ``python -m mlsrv_cli`` is the same as ``mlsrv``."""

import sys

from mlsrv_cli.main import main

sys.exit(main())
