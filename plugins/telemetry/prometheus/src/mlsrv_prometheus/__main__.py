"""Generator: prints or renews the dashboard, the alert rules and the table of metrics.

Usage: python -m mlsrv_prometheus dashboard | alerts | metrics. `renew` rewrites the files next to this one
from the declared metrics.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mlsrv_prometheus.alerts import alerts
from mlsrv_prometheus.dashboard import dashboard
from mlsrv_prometheus.table import table

TEXTS = {"dashboard": dashboard, "alerts": alerts, "metrics": table}
FILES = {"dashboard": "dashboard.json", "alerts": "alerts.yml"}


def main(arguments: list[str]) -> int:
    """Run the generator and return the exit code."""
    if arguments == ["renew"]:
        for name, file in FILES.items():
            Path(__file__).with_name(file).write_text(TEXTS[name]() + "\n", encoding="utf-8")
        return 0
    if len(arguments) != 1 or arguments[0] not in TEXTS:
        print(f"usage: python -m mlsrv_prometheus {' | '.join(TEXTS)}", file=sys.stderr)
        return 2
    print(TEXTS[arguments[0]]())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
