"""Each public name is a decision: what the modules list in `__all__` is compared with `public_names.txt`.

After a decision, renew it: python tests/support/renew.py
"""

import importlib

from renew import PUBLIC_NAMES, has_all, public_names
from workspace import rooms


def test_public_names_are_the_decided_ones() -> None:
    decided = set(PUBLIC_NAMES.read_text(encoding="utf-8").splitlines())
    found = set(public_names())
    assert sorted(found - decided) == [], "new names"
    assert sorted(decided - found) == [], "names that are gone"


def test_public_names_exist() -> None:
    missing = []
    for line in public_names():
        module, _, name = line.partition(":")
        try:
            getattr(importlib.import_module(module), name)
        except AttributeError:
            missing.append(line)
        except ImportError as error:
            # A codec whose plugin is not installed here: the error must say what to install.
            if "pip install mlsrv-" not in str(error):
                missing.append(f"{line} ({error})")
    assert missing == []


def test_the_kernel_and_the_protocol_have_a_public_face() -> None:
    faces = {room.package for room in rooms() if has_all(room.source / "__init__.py")}
    assert {"mlsrv", "mlsrv_protocol"} <= faces
