"""Guard: the authorizer is asked, and the rights of the principal are compared with the action."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

import mlsrv
from mlsrv import CallContext, Kernel, ModelSettings
from mlsrv.authorization import AccessRequest, Action, Authorizer, Limits, Principal
from mlsrv.errors import OfferClash, PermissionDenied, PluginError, RateLimited, Unauthenticated
from mlsrv.kernel.guard import RequestGuard
from mlsrv.testing import EchoModel, MemoryMeter, text_request
from mlsrv.types import InferenceRequest
from mlsrv_telemetry_kit.meters import Meters


class Names(Authorizer):
    """The header ``name`` is who asks; without it, the principal is anonymous."""

    rights: dict[Action, list[str]] = {"infer": ["echo"], "health": ["*"]}

    async def authorize(self, access: AccessRequest) -> Principal:
        name = access.headers.get("name")
        if name is None:
            return Principal("anonymous", {"health": ["*"]}, anonymous=True)
        if name == "stranger":
            raise Unauthenticated("You are not known here.")
        return Principal(name, self.rights)


class Plugin:
    def __init__(self, authorizer: object) -> None:
        self.authorizer = authorizer

    @mlsrv.hookimpl
    def mlsrv_authorize(self, kernel: Any) -> Any:
        return self.authorizer


NO_KERNEL: Any = object()
MODELS = [ModelSettings(name=name, implementation=EchoModel) for name in ("echo", "other")]


def kernel(*authorizers: object) -> Kernel:
    plugins = [Plugin(authorizer) for authorizer in authorizers]
    return Kernel(plugins=plugins, models=MODELS, discover=False)


@pytest.mark.parametrize(
    ("action", "name", "model", "error"),
    [
        ("infer", "ada", "echo", None),
        ("infer", "ada", None, None),
        ("infer", "ada", "other", PermissionDenied),
        ("repository", "ada", None, PermissionDenied),
        (None, "ada", None, None),
        ("infer", "stranger", "echo", Unauthenticated),
        ("health", None, None, None),
        ("infer", None, "echo", Unauthenticated),
        (None, None, None, Unauthenticated),
    ],
)
def test_it_admits_what_the_rights_allow(
    action: Action | None, name: str | None, model: str | None, error: type[Exception] | None
) -> None:
    async def main() -> None:
        async with kernel(Names()) as running:
            assert running.guard is not None
            headers = {} if name is None else {"name": name}
            access = AccessRequest(action, headers, model)
            if error is None:
                assert (await running.guard.admit(access)).name == (name or "anonymous")
            else:
                with pytest.raises(error):
                    await running.guard.admit(access)

    asyncio.run(main())


def test_the_kernel_checks_the_model_of_each_kind_of_call() -> None:
    async def main() -> None:
        async with kernel(Names()) as running:
            await running.loaded()
            context = CallContext(principal=Principal("ada", {"infer": ["echo"]}))
            assert (await running.infer(text_request("echo", ["a"]), context)).outputs

            async def requests() -> AsyncIterator[InferenceRequest]:
                yield text_request("other", ["a"])

            with pytest.raises(PermissionDenied):
                await running.infer(text_request("other", ["a"]), context)
            with pytest.raises(PermissionDenied):
                await anext(running.stream(requests(), context))
            with pytest.raises(PermissionDenied):
                await running.call("other", None, "anything", {}, context)
            # The name of a model that does not exist is not found out either.
            with pytest.raises(PermissionDenied):
                await running.infer(text_request("unknown", ["a"]), context)

    asyncio.run(main())


def test_without_an_authorizer_there_is_no_guard() -> None:
    async def main() -> None:
        async with kernel() as running:
            assert running.guard is None
        async with kernel(None) as running:
            assert running.guard is None
        guarded = kernel(Names())
        async with guarded:
            assert guarded.guard is not None
        assert guarded.guard is None

    asyncio.run(main())


def test_wrong_authorizers_stop_the_boot() -> None:
    async def boot(*authorizers: object) -> None:
        async with kernel(*authorizers):
            pass

    with pytest.raises(OfferClash, match="authorizer"):
        asyncio.run(boot(Names(), Names()))
    with pytest.raises(PluginError, match="returned a str, not an Authorizer"):
        asyncio.run(boot("open sesame"))


class Limited(Authorizer):
    """The header ``name`` is who asks, once in a while."""

    credential_headers = frozenset({"name"})

    async def authorize(self, access: AccessRequest) -> Principal:
        return Principal(access.headers["name"], {"health": ["*"]}, limits=Limits(rate=0.001, burst=1))


async def test_what_is_kept_of_principals_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlsrv.kernel.guard.MOST_SERIES", 3)
    monkeypatch.setattr("mlsrv.kernel.guard.MOST_BUCKETS", 5)
    meter = MemoryMeter(NO_KERNEL)
    guard = RequestGuard(Limited(), Meters([meter]))
    for number in range(20):
        await guard.admit(AccessRequest("health", {"name": f"p{number}"}))
    assert meter.sums == {
        **{("mlsrv_access_admitted", f"p{number}"): 1.0 for number in range(3)},
        ("mlsrv_access_admitted", "others"): 17.0,
    }
    assert len(guard._buckets) <= 5
    with pytest.raises(RateLimited):
        await guard.admit(AccessRequest("health", {"name": "p19"}))
    assert meter.sums["mlsrv_access_refused", "rate_limited"] == 1.0


async def test_credentials_are_replaced_once_a_request_is_let_in() -> None:
    guard = RequestGuard(Limited(), Meters())
    headers = {"name": "ada", "accept": "text/plain"}
    await guard.admit(AccessRequest("health", headers))
    assert headers == {"name": "principal ada", "accept": "text/plain"}
    refused = {"name": "bob"}
    with pytest.raises(PermissionDenied):
        await guard.admit(AccessRequest("admin", refused))
    assert refused == {"name": "bob"}
