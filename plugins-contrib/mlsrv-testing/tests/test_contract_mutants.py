"""Each case of a contract suite fails for a toy that is wrong in just that way."""

import asyncio
import contextlib
import gc
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from contract_toys import (
    Adder,
    AdderSuite,
    Demanding,
    DemandingSuite,
    Json,
    JsonSuite,
    Lines,
    LinesSuite,
    Passing,
    Table,
    TableSuite,
    Tally,
    TallySuite,
)

from mlsrv import ModelSettings
from mlsrv.errors import CodecError
from mlsrv.interceptor import Interceptor
from mlsrv.metrics import nothing
from mlsrv.telemetry.kernel_metrics import METRICS
from mlsrv.types import InferenceResponse, Parameters, ResponseOutput


def cases(suite: type) -> list[str]:
    return [name for name in dir(suite) if name.startswith("test_")]


def verdict(suite: Any, case: str, tmp_path: Path) -> str:
    """What a case of a suite says: "" if it passes."""
    function = getattr(suite, case)
    try:
        function(tmp_path) if "tmp_path" in function.__code__.co_varnames[:2] else function()
    except (Exception, pytest.fail.Exception) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def check(mutants: dict[str, type], suite: type, attach: Callable[[type], Any]) -> Any:
    """A test over every case of a suite: it passes with the right toy, and fails with its mutant."""

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::RuntimeWarning")
    @pytest.mark.parametrize("case", cases(suite))
    def test(case: str, tmp_path: Path) -> None:
        (tmp_path / "right").mkdir()
        assert verdict(suite(), case, tmp_path / "right") == ""
        assert case in mutants, "this case has no mutant"
        (tmp_path / "wrong").mkdir()
        assert verdict(attach(mutants[case]), case, tmp_path / "wrong") != ""
        gc.collect()  # here, where what a mutant left open may be warned of

    return test


def suite_with(suite: type, attribute: str) -> Callable[[type], Any]:
    """What makes the same suite for another class, which it has in this attribute."""
    return lambda cls: type("Suite", (suite,), {attribute: cls})()


# --- codecs of tensors -------------------------------------------------------------------------------


class Nameless(Json):
    ContentType = " "


class Greedy(Json):
    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return True


class Unannotated(Json):
    @classmethod
    def encode_output(cls, name: str, payload: Any, **kwargs: Any) -> ResponseOutput:
        output = super().encode_output(name, payload)
        output.parameters = None
        return output


class WrongShape(Json):
    @classmethod
    def encode_input(cls, name: str, payload: Any, **kwargs: Any) -> Any:
        made = super().encode_input(name, payload)
        made.shape = [len(payload) + 1]
        return made


class Forgetful(Json):
    @classmethod
    def decode_output(cls, response_output: Any) -> Any:
        return [item for item in super().decode_output(response_output) if item is not None]


class Reversing(Json):
    @classmethod
    def decode_input(cls, request_input: Any) -> Any:
        return super().decode_input(request_input)[::-1]


class InProcessOnly(Json):
    """Its data is no text."""

    @classmethod
    def _fields(cls, name: str, payload: list[Any]) -> dict[str, Any]:
        return {**super()._fields(name, payload), "data": list(payload)}

    @classmethod
    def decode_output(cls, response_output: Any) -> Any:
        return list(response_output.data)

    @classmethod
    def decode_input(cls, request_input: Any) -> Any:
        return list(request_input.data)


class InPlace(Json):
    @classmethod
    def decode_input(cls, request_input: Any) -> Any:
        found = super().decode_input(request_input)
        request_input.data.append("null")
        return found


class InPlacePayload(Json):
    @classmethod
    def encode_output(cls, name: str, payload: Any, **kwargs: Any) -> ResponseOutput:
        made = super().encode_output(name, payload)
        payload.append(1)
        return made


class Raising(Json):
    @classmethod
    def decode_input(cls, request_input: Any) -> Any:
        try:
            return super().decode_input(request_input)
        except CodecError:
            raise ValueError("no JSON") from None


class NeedsAnInstance(Json):
    def decode_input(self, request_input: Any) -> Any:  # type: ignore[override]  # the mistake under test
        return Json.decode_input(request_input)


def json_suite(codec: type) -> Any:
    class Suite(JsonSuite):
        pass

    Suite.codec = codec
    if codec is Json:
        Suite.samples = ()
    return Suite()


test_codec_mutants = check(
    {
        "test_there_are_samples": Json,
        "test_it_has_a_content_type": Nameless,
        "test_it_knows_what_it_encodes": Greedy,
        "test_an_output_is_well_formed": Unannotated,
        "test_an_input_is_well_formed": WrongShape,
        "test_a_response_comes_back": Forgetful,
        "test_a_request_comes_back": Reversing,
        "test_it_survives_json": InProcessOnly,
        "test_it_changes_nothing_that_it_is_given": InPlace,
        "test_garbage_is_refused_with_a_sentence": Raising,
        "test_a_model_uses_it": NeedsAnInstance,
    },
    JsonSuite,
    json_suite,
)


def test_a_codec_that_changes_its_payload(tmp_path: Path) -> None:
    assert verdict(json_suite(InPlacePayload), "test_it_changes_nothing_that_it_is_given", tmp_path) != ""


# --- codecs of requests ------------------------------------------------------------------------------


class NamelessTable(Table):
    ContentType = ""


class GreedyTable(Table):
    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return True


class Anonymous(Table):
    @classmethod
    def encode_response(
        cls, model_name: str, payload: Any, model_version: str | None = None, **kwargs: Any
    ) -> InferenceResponse:
        return super().encode_response("", payload)


class UnannotatedTable(Table):
    @classmethod
    def encode_request(cls, payload: Any, **kwargs: Any) -> Any:
        made = super().encode_request(payload)
        made.parameters = None
        return made


class LosesColumns(Table):
    @classmethod
    def decode_response(cls, response: Any) -> Any:
        return dict(list(super().decode_response(response).items())[:1])


class SortsValues(Table):
    @classmethod
    def decode_request(cls, request: Any) -> Any:
        return {name: column[::-1] for name, column in super().decode_request(request).items()}


class InProcessTable(Table):
    @classmethod
    def encode_request(cls, payload: Any, **kwargs: Any) -> Any:
        made = super().encode_request(payload)
        made.parameters = Parameters(content_type=cls.ContentType, kept={"payload": payload, "set": {1}})
        return made


class InPlaceTable(Table):
    @classmethod
    def decode_request(cls, request: Any) -> Any:
        found = super().decode_request(request)
        request.inputs.clear()
        return found


class RaisingTable(Table):
    @classmethod
    def decode_request(cls, request: Any) -> Any:
        try:
            return super().decode_request(request)
        except CodecError:
            raise ValueError("no JSON") from None


class TableInstance(Table):
    def decode_request(self, request: Any) -> Any:  # type: ignore[override]  # the mistake under test
        return Table.decode_request(request)


def table_suite(codec: type) -> Any:
    class Suite(TableSuite):
        pass

    Suite.codec = codec
    if codec is Table:
        Suite.samples = ()
    return Suite()


test_request_codec_mutants = check(
    {
        "test_there_are_samples": Table,
        "test_it_has_a_content_type": NamelessTable,
        "test_it_knows_what_it_encodes": GreedyTable,
        "test_a_response_is_well_formed": Anonymous,
        "test_a_request_says_how_to_decode_it": UnannotatedTable,
        "test_a_response_comes_back": LosesColumns,
        "test_a_request_comes_back": SortsValues,
        "test_it_survives_json": InProcessTable,
        "test_it_changes_nothing_that_it_is_given": InPlaceTable,
        "test_garbage_is_refused_with_a_sentence": RaisingTable,
        "test_a_model_uses_it": TableInstance,
    },
    TableSuite,
    table_suite,
)


# --- runtimes ----------------------------------------------------------------------------------------


class Unsendable(Adder):
    async def predict(self, payload: Any) -> Any:
        response = await super().predict(payload)
        response.outputs[0].data = [object() for _ in response.outputs[0].data]
        return response


class TakesText(Adder):
    async def predict(self, payload: Any) -> Any:
        if not isinstance(payload.inputs[0].data, list):  # as the toy's requests have it, and no wire form
            raise TypeError(payload.inputs[0].data)
        return await super().predict(payload)


class OtherOutput(Adder):
    async def predict(self, payload: Any) -> Any:
        response = await super().predict(payload)
        response.outputs[0].name = "total"
        return response


class KeepsRequest(Adder):
    calls = 0

    async def predict(self, payload: Any) -> Any:
        self.calls += 1
        self.running = getattr(self, "running", 0) + 1
        alone = self.running == 1
        await asyncio.sleep(0.001)
        response = await super().predict(payload)
        if not alone:
            response.outputs[0].data = [0, 0]
        self.running -= 1
        return response


class ChangesRequest(Adder):
    async def predict(self, payload: Any) -> Any:
        response = await super().predict(payload)
        payload.inputs[0].data[0] += 1
        return response


class OnlyOnce(Adder):
    locked: set[str] = set()  # shared by all instances: the mistake under test

    async def load(self) -> bool:
        if self.settings.parameters.uri in self.locked:
            raise OSError("the database is locked")
        self.locked.add(str(self.settings.parameters.uri))
        return await super().load()


class SharedState(Adder):
    shared: list[int] = []  # shared by all instances: the mistake under test

    async def load(self) -> bool:
        await super().load()
        self.shared.append(self.addend)
        return True

    async def unload(self) -> bool:
        self.shared.clear()
        return True

    async def predict(self, payload: Any) -> Any:
        self.addend = self.shared[0]
        return await super().predict(payload)


class NoArtifact(Adder):
    async def load(self) -> bool:
        self.addend = 5
        return True


class Careless(Adder):
    async def predict(self, payload: Any) -> Any:
        if payload.inputs[0].datatype != "INT64":
            raise ValueError("cannot add")
        return await super().predict(payload)


def adder_suite(model: type) -> Any:
    class Suite(AdderSuite):
        def settings(self, tmp_path: Path) -> ModelSettings:
            made = super().settings(tmp_path)
            if model is Adder:
                made.parameters.extra["hook"] = lambda: None
            return made

    Suite.model = model
    return Suite()


test_runtime_mutants = check(
    {
        "test_it_loads_and_answers": Unsendable,
        "test_binary_tensors_have_the_same_answer": TakesText,
        "test_answers_are_what_the_metadata_says": OtherOutput,
        "test_many_requests_at_once": KeepsRequest,
        "test_a_request_is_not_changed": ChangesRequest,
        "test_it_can_be_reloaded_and_unloaded": OnlyOnce,
        "test_two_models_live_side_by_side": SharedState,
        "test_its_settings_travel": Adder,
        "test_a_missing_artifact_is_one_sentence": NoArtifact,
        "test_a_bad_request_is_the_clients_fault": Careless,
    },
    AdderSuite,
    adder_suite,
)


# --- interceptors ------------------------------------------------------------------------------------


class Silent(Passing):
    async def __call__(self, request: Any, context: Any, call_next: Any) -> Any:
        await call_next(request, context)


class LastAnswer(Passing):
    """Answers everybody with the answer that came last."""

    async def __call__(self, request: Any, context: Any, call_next: Any) -> Any:
        self.last = await call_next(request, context)
        await asyncio.sleep(0)
        return self.last


class Wrapping(Passing):
    async def __call__(self, request: Any, context: Any, call_next: Any) -> Any:
        try:
            return await call_next(request, context)
        except Exception as error:
            raise RuntimeError("the cache failed") from error


class SharedFlight(Passing):
    """Lets equal requests share one computation, which dies with the first of them."""

    def __init__(self) -> None:
        self.flights: dict[str, Any] = {}

    async def __call__(self, request: Any, context: Any, call_next: Any) -> Any:
        key = str(request.inputs[0].data)
        if key not in self.flights:
            self.flights[key] = asyncio.ensure_future(call_next(request, context))
        try:
            return await self.flights[key]
        finally:
            self.flights.pop(key, None)


class Leaking(Passing):
    async def __aenter__(self) -> Interceptor:
        self.task = asyncio.create_task(asyncio.sleep(3600))
        return self


class CutsStreams(Passing):
    async def stream(self, requests: Any, context: Any, call_next: Any) -> Any:
        async with contextlib.aclosing(call_next(requests, context)) as responses:
            yield await anext(responses)


class KeepsStreams(Passing):
    open: list[Any] = []  # what it holds on to

    async def stream(self, requests: Any, context: Any, call_next: Any) -> Any:
        responses = call_next(requests, context)
        self.open.append(responses)
        async for response in responses:
            yield response


class BreaksHandlers(Passing):
    async def __call__(self, request: Any, context: Any, call_next: Any) -> Any:
        response = await call_next(request, context)
        response.outputs[0].name = response.outputs[0].name
        return response


class OpenToStreams(Demanding):
    infer_only = True


class OpenToHandlers(Demanding):
    async def call(self, method: Any, arguments: Any, context: Any, call_next: Any) -> Any:
        return await call_next(method, arguments, context)


def demanding_suite(interceptor: type[Interceptor]) -> Any:
    class Suite(DemandingSuite):
        def make(self) -> Interceptor:
            return interceptor()

    return Suite()


def test_a_guard_that_handlers_pass_by_fails(tmp_path: Path) -> None:
    suite = demanding_suite(OpenToHandlers)
    assert "DID NOT RAISE" in verdict(suite, "test_what_is_refused_is_refused_in_every_way", tmp_path)


test_interceptor_mutants = check(
    {
        "test_an_answer_comes_through": Silent,
        "test_many_answers_stay_apart": LastAnswer,
        "test_a_failure_of_the_model_comes_through_unchanged": Wrapping,
        "test_a_cancelled_request_disturbs_no_other": SharedFlight,
        "test_what_it_holds_ends_with_it": Leaking,
        "test_handlers_come_through": BreaksHandlers,
        "test_streams_come_through": CutsStreams,
        "test_closing_a_stream_reaches_the_model": KeepsStreams,
        "test_what_is_refused_is_refused_in_every_way": OpenToStreams,
    },
    DemandingSuite,
    demanding_suite,
)


# --- repositories ------------------------------------------------------------------------------------


class NeverEmpty(Lines):
    async def list(self) -> Any:
        return await super().list() or [ModelSettings(name="default")]


class ByName(Lines):
    async def list(self) -> Any:
        return list({found.name: found for found in await super().list()}.values())


class Shuffled(Lines):
    directions = itertools.cycle((1, -1))

    async def list(self) -> Any:
        return (await super().list())[:: next(self.directions)]


class Cached(Lines):
    kept: Any = None

    async def list(self) -> Any:
        self.kept = self.kept if self.kept is not None else await super().list()
        return self.kept


class FindsPrefixes(Lines):
    async def find(self, name: str) -> Any:
        return [found for found in await self.list() if found.name.startswith(name)]


class Shared(Lines):
    kept: dict[str, Any] = {}  # the mistake under test

    def parse(self, line: str, path: Path) -> Any:
        return self.kept.setdefault(f"{path} {line}", super().parse(line, path))


class HalfWay(Lines):
    """Fills a list of its own while others read it."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.found: list[Any] = []

    async def list(self) -> Any:
        self.found = []
        for one in await super().list():
            self.found.append(one)
            await asyncio.sleep(0)
        return self.found


class AllOrNothing(Lines):
    def parse(self, line: str, path: Path) -> Any:
        name, version = line.split(",")
        return super().parse(f"{name},{version}", path)


class Traceback(Lines):
    async def list(self) -> Any:
        if not Path(self.root).is_dir():
            raise FileNotFoundError(self.root)
        return await super().list()


test_repository_mutants = check(
    {
        "test_an_empty_repository_is_empty": NeverEmpty,
        "test_every_model_and_version_is_listed": ByName,
        "test_the_order_is_always_the_same": Shuffled,
        "test_it_is_read_afresh": Cached,
        "test_find_agrees_with_list": FindsPrefixes,
        "test_each_listing_has_settings_of_its_own": Shared,
        "test_many_may_ask_at_once": HalfWay,
        "test_an_unreadable_model_keeps_its_place": AllOrNothing,
        "test_a_root_that_is_not_there": Traceback,
    },
    LinesSuite,
    suite_with(LinesSuite, "repository"),
)


# --- meters ------------------------------------------------------------------------------------------


class CountsCalls(Tally):
    def bind(self, metric: Any, labels: Any) -> Any:
        record = super().bind(metric, labels)
        return lambda value: record(1.0 if metric.kind == "counter" else value)


class AddsGauges(Tally):
    def bind(self, metric: Any, labels: Any) -> Any:
        record, total = super().bind(metric, labels), itertools.count()
        return (lambda value: record(value + next(total))) if metric.kind == "gauge" else record


class DropsLargest(Tally):
    def bind(self, metric: Any, labels: Any) -> Any:
        record = super().bind(metric, labels)
        return lambda value: record(value) if value < (metric.buckets or (1e300,))[-1] else None


class JoinsLabels(Tally):
    def bind(self, metric: Any, labels: Any) -> Any:
        record = super().bind(metric, labels)
        return nothing if any(character in "".join(labels) for character in ',"') else record


class StartsAgain(Tally):
    def bind(self, metric: Any, labels: Any) -> Any:
        self.found.pop((metric.name, *labels), None)
        return super().bind(metric, labels)


class SwapsRows(Tally):
    def bind_row(self, row: Any) -> Any:
        return super().bind_row(row[::-1])


class Unlocked(Tally):
    def bind(self, metric: Any, labels: Any) -> Any:
        key = (metric.name, *labels)

        def record(value: float) -> None:
            count, known = self.found.get(key, (0, 0.0))
            time.sleep(0)  # another thread may run here, as it may without this, but seldom
            self.found[key] = count + 1, known + value

        return record


class Raising(Tally):
    def bind(self, metric: Any, labels: Any) -> Any:
        record = super().bind(metric, labels)
        return lambda value: record(float(int(value * 1000)) / 1000)


class ReadsOnce(Tally):
    def observe_gauge(self, metric: Any, reading: Any) -> Any:
        found = list(reading())
        return super().observe_gauge(metric, lambda: found)


class OfTheProcess(Tally):
    shared: dict[Any, Any] = {}  # shared by all instances: the mistake under test

    def __init__(self, kernel: Any) -> None:
        super().__init__(kernel)
        self.found = self.shared


class OwnMetricsOnly(Tally):
    def bind(self, metric: Any, labels: Any) -> Any:
        return nothing if metric in METRICS else super().bind(metric, labels)


test_meter_mutants = check(
    {
        "test_counters_add_up": CountsCalls,
        "test_gauges_keep_the_last_value": AddsGauges,
        "test_histograms_observe_each_value": DropsLargest,
        "test_series_are_told_apart": JoinsLabels,
        "test_a_series_that_is_bound_again_goes_on": StartsAgain,
        "test_rows_record_each_of_their_series": SwapsRows,
        "test_no_value_of_any_thread_is_lost": Unlocked,
        "test_recording_never_raises": Raising,
        "test_watched_gauges_are_read_until_they_end": ReadsOnce,
        "test_kernels_do_not_see_each_other": OfTheProcess,
        "test_requests_are_recorded": OwnMetricsOnly,
    },
    TallySuite,
    suite_with(TallySuite, "meter"),
)
