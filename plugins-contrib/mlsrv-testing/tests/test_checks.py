"""Checks of plugins: which suites are run, with what, and what the report says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from contract_toys import Adder, Json, Lines, Passing, Table

from mlsrv import CodecOffer, MeterOffer, RepositoryOffer, RuntimeOffer, TransportOffer, hookimpl
from mlsrv.errors import ConfigurationError, MLSrvError
from mlsrv.metrics import Meter, Recorder, nothing
from mlsrv.plugins import Plugins
from mlsrv.plugins.offers import Offer
from mlsrv.testing import Offering
from mlsrv.transport import Transport
from mlsrv.types import InferenceRequest, RequestInput
from mlsrv_testing.checks import Checked, Given, Report, check_plugin
from mlsrv_testing.checks.samples import read_samples

KNOWN = [CodecOffer("toy-json", Json), CodecOffer("toy-table", Table, kind="request")]


def check(plugin: object, given: Given | None = None, progress: Any = None) -> Report:
    plugins = Plugins([plugin], discover=False)
    (row,) = plugins.rows
    return check_plugin(row, plugins, given or Given(), progress)


def of(report: Report, subject: str) -> Checked:
    (found,) = [one for one in report.checked if one.subject == subject]
    return found


def offering(*offers: Offer) -> Report:
    return check(Offering(*offers, name="toy"))


def test_codecs_are_tried_with_stock_values() -> None:
    told: list[tuple[str, int, int]] = []
    report = check(Offering(*KNOWN, name="toy"), progress=lambda *news: told.append(news))
    assert report.passed
    assert [one.subject for one in report.checked] == [
        "plugin toy",
        "input codec toy-json",
        "request codec toy-table",
    ]
    for one in report.checked[1:]:
        assert (one.suite, one.missing) == ("stock values", "")
        assert one.count("passed") > 8
        (unchecked,) = [case for case in one.cases if case.outcome == "not checked"]
        assert unchecked.detail == "the suite has no garbage"
    count = sum(len(one.cases) for one in report.checked)
    assert told[-1][1:] == (count, count)


class Backwards(Json):
    @classmethod
    def decode_input(cls, request_input: RequestInput) -> Any:
        return super().decode_input(request_input)[::-1]


def test_a_wrong_codec_fails_with_what_the_case_guards_against() -> None:
    report = offering(CodecOffer("toy-json", Backwards))
    assert not report.passed
    failed = {
        case.name: case for case in of(report, "input codec toy-json").cases if case.outcome == "failed"
    }
    case = failed["test_a_request_comes_back"]
    assert "came back as" in case.detail
    assert case.guards == "values that change on their way to the model."


class Shy(Json):
    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return False


class Touchy(Json):
    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        raise TypeError(payload)


def test_a_codec_for_which_there_is_no_value_says_so() -> None:
    report = offering(CodecOffer("toy-json", Shy))
    assert "give --sample FILE" in of(report, "input codec toy-json").missing
    assert report.passed


def test_a_codec_that_raises_fails_its_suite() -> None:
    assert not offering(CodecOffer("toy-json", Touchy)).passed


def test_given_samples_are_used_in_place_of_stock_values() -> None:
    tensor = Json.encode_input("x", ["only this"])
    other = RequestInput("y", [1], "BYTES", ["{"], {"content_type": "other"})
    report = check(Offering(*KNOWN[:1], name="toy"), Given(samples=[InferenceRequest([tensor, other])]))
    assert report.passed
    assert of(report, "input codec toy-json").suite == "--sample"


def test_an_offer_that_leads_nowhere() -> None:
    report = offering(CodecOffer("x", "no.such:Thing"))
    assert not report.passed
    assert of(report, "input codec x").missing == "no.such:Thing cannot be imported"


def model(folder: Path, **settings: Any) -> Path:
    (folder / "addend.txt").write_text("5")
    (folder / "model-settings.json").write_text(
        json.dumps({"name": "m", "implementation": "adder"} | settings)
    )
    return folder


ADDER = RuntimeOffer("adder", Adder)
INPUT = {"name": "x", "datatype": "INT64", "shape": [-1]}


def test_a_runtime_needs_a_model() -> None:
    assert "--model FOLDER" in of(offering(ADDER), "runtime adder").missing


@pytest.mark.parametrize(
    "settings",
    [
        {"inputs": [INPUT]},
        {"warm_up": {"inputs": [{"name": "x", "shape": [1], "datatype": "INT64", "data": [3]}]}},
    ],
)
def test_a_runtime_with_a_model(tmp_path: Path, settings: dict[str, Any]) -> None:
    report = check(Offering(ADDER, name="toy"), Given(model=model(tmp_path, **settings)))
    assert report.passed
    assert of(report, "runtime adder").count("passed") == 9


def test_a_model_that_gives_no_request(tmp_path: Path) -> None:
    plugin = Offering(ADDER, name="toy")
    assert "--sample FILE" in of(check(plugin, Given(model=model(tmp_path))), "runtime adder").missing
    request = InferenceRequest([RequestInput("x", [1], "INT64", [3])])
    report = check(plugin, Given(model=model(tmp_path), samples=[request]))
    assert of(report, "runtime adder").count("passed") == 9


def test_a_model_that_does_not_load_or_is_of_another_runtime(tmp_path: Path) -> None:
    plugin = Offering(ADDER, RuntimeOffer("echo", "mlsrv.testing:EchoModel"), name="toy")
    report = check(plugin, Given(model=model(tmp_path, inputs=[INPUT])))
    assert "is of the runtime adder" in of(report, "runtime echo").missing
    (tmp_path / "addend.txt").write_text("five")
    with pytest.raises(MLSrvError, match="Model m"):
        check(plugin, Given(model=tmp_path))


def test_a_repository_is_tried_empty() -> None:
    found = of(offering(RepositoryOffer("lines", Lines)), "repository lines")
    assert (found.count("passed"), found.count("failed")) == (2, 0)
    reasons = {case.detail for case in found.cases if case.outcome == "not checked"}
    assert "only a suite of the author can put models into this repository" in reasons


class Around:
    """Makes an interceptor when debugging."""

    __name__ = "around"

    @hookimpl
    def mlsrv_interceptors(self, kernel: Any, model: Any) -> Any:
        return Passing() if kernel.settings.debug else None


def test_interceptors_are_those_that_the_settings_ask_for() -> None:
    assert "--set KEY=VALUE" in of(check(Around()), "interceptor").missing
    found = of(check(Around(), Given(settings={"debug": True, "unknown": 1})), "interceptor Passing")
    assert found.count("passed") == 9


class Metrics(Transport):
    takes_requests = False

    async def start(self) -> None: ...

    async def stop(self, grace: float) -> None: ...


def test_a_transport_over_which_no_model_can_be_asked_is_not_tried() -> None:
    found = of(offering(TransportOffer("metrics", Metrics)), "transport metrics")
    assert (found.cases, found.missing) == ((), "models cannot be asked over it")


class Silent(Meter):
    def bind(self, *args: Any) -> Recorder:
        return nothing


def test_only_its_author_can_read_a_meter() -> None:
    found = of(offering(MeterOffer("silent", Silent)), "meter silent")
    assert found.missing.endswith("it needs a suite of the author")


def test_a_plugin_that_did_not_load() -> None:
    plugins = Plugins([Offering(*KNOWN)], discover=False)
    (row,) = plugins.rows
    row.error = ImportError("no wings")
    report = check_plugin(row, plugins, Given())
    assert [case.detail for case in report.checked[0].cases] == ["ImportError: no wings"]
    assert not report.passed


AUTHOR = """
from contract_toys import Json
from mlsrv_testing.contracts import InputCodecContract

class Base(InputCodecContract):
    codec = Json

class TestJson(Base):
    samples = [["mine"]]
"""


def test_suites_of_the_author_come_first(tmp_path: Path) -> None:
    file = tmp_path / "test_toy.py"
    file.write_text(AUTHOR)
    report = check(Offering(*KNOWN, name="toy"), Given(suites=[file]))
    assert of(report, "input codec toy-json").suite == f"{file}: TestJson"
    assert of(report, "request codec toy-table").suite == "stock values"
    file.write_text("x = 1\n")
    with pytest.raises(ConfigurationError, match="has no class Test"):
        check(Offering(*KNOWN, name="toy"), Given(suites=[file]))


def test_sample_files(tmp_path: Path) -> None:
    tensor, request, broken = (tmp_path / name for name in ("tensor", "request", "broken"))
    tensor.write_text('{"name": "x", "shape": [1], "datatype": "INT64", "data": [1]}')
    request.write_text(f'{{"inputs": [{tensor.read_text()}]}}')
    broken.write_text("{")
    assert read_samples([tensor]) == read_samples([request])
    with pytest.raises(ConfigurationError) as caught:
        read_samples([broken, tmp_path / "absent"])
    assert [problem.partition(" ")[0] for problem in caught.value.problems] == [
        str(broken),
        str(tmp_path / "absent"),
    ]
