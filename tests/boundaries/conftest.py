"""Makes every room importable, those too whose framework has an environment of its own."""

import os
import sys

from workspace import is_installed, rooms

ABSENT = [str(room.source.parent) for room in rooms() if not is_installed(room)]

sys.path += ABSENT
# For the fresh interpreters that these tests start.
os.environ["PYTHONPATH"] = os.pathsep.join([*ABSENT, *filter(None, [os.environ.get("PYTHONPATH")])])
