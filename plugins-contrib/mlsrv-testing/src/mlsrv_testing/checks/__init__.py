"""Check of an installed plugin with the contract suites: what ``mlsrv plugins check`` does.

Needs pytest, like the suites. Which suite tries what, and with which samples, is in
`mlsrv_testing.checks.suites`.
"""

from mlsrv_testing.checks.checking import check_plugin
from mlsrv_testing.checks.findings import Findings
from mlsrv_testing.checks.report import Case, Checked, Report
from mlsrv_testing.checks.suites import Given

__all__ = ["Case", "Checked", "Findings", "Given", "Report", "check_plugin"]
