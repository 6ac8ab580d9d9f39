"""Checks an installed plugin with the contract suites: what ``mlsrv plugins check`` does.

Needs pytest, like the suites. Which suite tries what, and with which samples, is in
`mlsrv.testing.checks.suites`.
"""

from mlsrv.testing.checks.checking import check_plugin
from mlsrv.testing.checks.findings import Findings
from mlsrv.testing.checks.report import Case, Checked, Report
from mlsrv.testing.checks.suites import Given

__all__ = ["Case", "Checked", "Findings", "Given", "Report", "check_plugin"]
