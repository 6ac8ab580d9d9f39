"""Spark session: shared by all models of this process."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JError
from pyspark import SparkContext
from pyspark.sql import SparkSession

from mlsrv.errors import ModelLoadError
from mlsrv.settings import ModelSettings
from mlsrv_mllib.error_text import error_text
from mlsrv_runtime_kit import extra_value, thread_count

ALWAYS = {
    "spark.app.name": "mlsrv",
    "spark.log.level": "ERROR",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}
"""Configuration that models may override."""

LOCAL = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.shuffle.partitions": "1",
}
"""More of it where Spark runs in this machine alone."""

SECONDS_TO_END = 20.0
"""Seconds that the JVM may take to end by itself."""


def configuration(settings: ModelSettings) -> dict[str, str]:
    """Return the whole configuration of the session that a model asks for.

    Raises:
        ModelLoadError: ``parameters.extra.master`` or ``spark_config`` is of a wrong type.
    """
    wanted = extra_value(settings, "spark_config", dict, {})
    wrong = {key: value for key, value in wanted.items() if not isinstance(value, str | int | float | bool)}
    if wrong:
        raise ModelLoadError(
            f"Model {settings.name}: parameters.extra.spark_config must hold texts, numbers, true or false, "
            f"not {wrong}."
        )
    texts = {
        key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in wanted.items()
    }
    master = extra_value(settings, "master", str, texts.get("spark.master", ""))
    master = master or f"local[{thread_count(settings)}]"
    defaults = ALWAYS | LOCAL if master.startswith("local") else ALWAYS
    return defaults | texts | {"spark.master": master}


class SharedSession:
    """Starts a Spark session for the first model and stops it, with its JVM, after the last.

    A session that the program has started itself is used as it is, and left alone.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._session: Any = None
        self._configuration: dict[str, str] | None = None
        self._users = 0

    def acquire(self, model: str, wanted: Mapping[str, str]) -> Any:
        """Return the session and count one more model; starting it takes seconds.

        Args:
            model: its name, for messages.
            wanted: what `configuration` gives.

        Raises:
            ModelLoadError: it cannot be started, or runs with another configuration already.
        """
        with self._lock:
            if self._session is not None and not is_alive(self._session):
                self._end()
            if self._session is None:
                self._begin(model, dict(wanted))
            elif self._configuration not in (None, wanted):
                raise _conflict(model, self._configuration or {}, wanted)
            self._users += 1
            return self._session

    def release(self, session: Any) -> None:
        """Count one model less. Sessions of a JVM that has ended before do not count any more."""
        with self._lock:
            if session is not self._session:
                return
            self._users -= 1
            if self._users == 0:
                self._end()

    def _begin(self, model: str, wanted: dict[str, str]) -> None:
        if SparkContext._active_spark_context is not None:
            self._session, self._configuration = SparkSession.builder.getOrCreate(), None
            return
        check_java(model, os.environ)
        try:
            self._session = SparkSession.builder.config(map=wanted).getOrCreate()
        except Exception as error:  # errors of Java and Spark have no common base
            end_jvm()
            raise ModelLoadError(
                f"Model {model}: Spark cannot be started with the master {wanted['spark.master']} "
                f"({error_text(error)}); what Java says is in the server's error output."
            ) from error
        self._configuration = wanted

    def _end(self) -> None:
        session, self._session, self._users = self._session, None, 0
        if self._configuration is None:
            return
        if is_alive(session):
            session.stop()
        end_jvm()


SESSION = SharedSession()
"""Spark keeps one session, one context and one JVM for a process, whatever runs in it: so this is the
process's, too, and does not belong to a kernel."""


def check_java(model: str, environment: Mapping[str, str]) -> None:
    """Raise `ModelLoadError` if Spark would find no Java."""
    home = environment.get("JAVA_HOME")
    if home:
        found = shutil.which("java", path=str(Path(home, "bin")))
        where = f"JAVA_HOME is {home}, which has no bin/java"
    else:
        found = shutil.which("java", path=environment.get("PATH", ""))
        where = "JAVA_HOME is not set, and no folder of PATH has a java"
    if found is None:
        raise ModelLoadError(
            f"Model {model}: Spark needs Java, which is not there ({where}); install Java 17 or newer, a "
            "runtime environment is enough, and start the server again."
        )


def is_alive(session: Any) -> bool:
    """Return whether Java answers and the session has not been stopped."""
    try:
        return not session.sparkContext._jsc.sc().isStopped()
    except (Py4JError, ConnectionError, AttributeError):  # raised by a session that was stopped
        return False


def end_jvm() -> None:
    """End the JVM, which Spark would keep as long as the process lives."""
    gateway = SparkContext._gateway
    process = getattr(gateway, "proc", None)
    if gateway is None or process is None:
        return
    # Without these, Spark starts a new JVM the next time.
    SparkContext._gateway = SparkContext._jvm = SparkContext._active_spark_context = None
    SparkSession._instantiatedSession = None
    gateway.shutdown()
    process.stdin.close()  # the JVM takes this for the end of its parent
    try:
        process.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _conflict(model: str, running: Mapping[str, str], wanted: Mapping[str, str]) -> ModelLoadError:
    keys = sorted(key for key in {*running, *wanted} if running.get(key) != wanted.get(key))
    differing = "; ".join(
        f"{key} {wanted.get(key, 'unset')}, not {running.get(key, 'unset')}" for key in keys
    )
    return ModelLoadError(
        f"Model {model} asks for another Spark session than this process has ({differing}); give all models "
        "the same parameters.extra.master and spark_config, or run it in worker processes of their own."
    )
