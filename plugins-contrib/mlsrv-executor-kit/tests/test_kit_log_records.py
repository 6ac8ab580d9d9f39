"""Log records: as plain values."""

import json
import logging

from mlsrv_executor_kit.log_records import record_fields


def test_a_record_becomes_fields_that_fit_into_json() -> None:
    record = logging.LogRecord("a", logging.INFO, "p.py", 3, "x %d", (5,), None)
    assert json.loads(json.dumps(record_fields(record)))["msg"] == "x 5"
