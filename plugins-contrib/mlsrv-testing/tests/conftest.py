import sys
from pathlib import Path

from mlsrv.testing.fixtures import *  # noqa: F403  # fixtures are found by their names in this module

# `contract_toys` holds what several of these tests need.
sys.path.append(str(Path(__file__).parent))
