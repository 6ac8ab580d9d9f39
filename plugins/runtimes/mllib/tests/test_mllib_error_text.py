"""Errors of Spark in one line. The texts are what Spark 4.3 gives."""

import pytest

from mlsrv_mllib.error_text import error_text

UNSEEN = """An error occurred while calling o4129.getResult.
: org.apache.spark.SparkException: Exception thrown in awaitResult:
\tat org.apache.spark.util.SparkThreadUtils$.awaitResult(SparkThreadUtils.scala:70)
Caused by: org.apache.spark.SparkException: [FAILED_EXECUTE_UDF] User defined function \
(`StringIndexerModel$$Lambda$3988/0x00007f39291a0000`: (string) => double) failed due to: \
org.apache.spark.SparkException: Unseen label: Paris. To handle unseen labels, set Param handleInvalid \
to keep.. SQLSTATE: 39000
\tat org.apache.spark.sql.catalyst.expressions.ScalaUDF.eval(ScalaUDF.scala:1210)
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (UNSEEN, "Unseen label: Paris. To handle unseen labels, set Param handleInvalid to keep"),
        ("requirement failed: Column a must be of type double.", "Column a must be of type double"),
        ("Index 2 out of bounds for length 1", "Index 2 out of bounds for length 1"),
        ("[PATH_NOT_FOUND] Path does not exist: file:/x. SQLSTATE: 42K03", "Path does not exist: file:/x"),
        ("An error occurred while calling o1.load.\n: java.lang.Error: broken", "broken"),
        ("", "RuntimeError"),
    ],
)
def test_the_cause_is_extracted(text: str, said: str) -> None:
    assert error_text(RuntimeError(text)) == said
