"""Makes every room importable, those too whose framework has an environment of its own."""

import os

from workspace import make_importable

ABSENT = make_importable()

# For the fresh interpreters that these tests start.
os.environ["PYTHONPATH"] = os.pathsep.join([*ABSENT, *filter(None, [os.environ.get("PYTHONPATH")])])
