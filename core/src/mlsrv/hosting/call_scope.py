"""Call scope: the contexts that plugins put around the code of models, in the process where it runs.

See the hook ``mlsrv_user_code``.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType

from mlsrv.context import CallContext
from mlsrv.interceptor import UserCodeContext, WholeCall

logger = logging.getLogger("mlsrv.model")


class CallScopes:
    """Everything that one model's code is called in. What fails there is logged, and changes no answer."""

    def __init__(self, contexts: Sequence[UserCodeContext]) -> None:
        self._contexts = contexts

    def call(self, context: CallContext) -> CallScope:
        """One call, to be closed after the last time that it was left."""
        return CallScope(self._contexts, context)


class CallScope:
    """One call of user code, with everything around it."""

    __slots__ = ("_context", "_entered", "_lasting", "_makers")

    def __init__(self, makers: Sequence[UserCodeContext], context: CallContext) -> None:
        self._makers = makers
        self._context = context
        self._lasting: dict[int, WholeCall] = {}
        self._entered: list[AbstractContextManager[object] | WholeCall] = []

    # Not with an `ExitStack`: this is done for each request, and one plugin must not see another's failure.

    def enter(self) -> None:
        """Enter all."""
        for number, make in enumerate(self._makers):
            try:
                manager = self._lasting.get(number) or self._made(number, make)
                manager.__enter__()
            except Exception:
                logger.exception("A plugin failed before model code was called")
            else:
                self._entered.append(manager)

    def leave(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave all, in reverse, with what the user code raised."""
        while self._entered:
            try:
                self._entered.pop().__exit__(kind, error, trace)
            except Exception as raised:
                if raised is not error:
                    logger.exception("A plugin failed after model code was called")

    def __enter__(self) -> CallScope:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for lasting in reversed(self._lasting.values()):
            try:
                lasting.close()
            except Exception:
                logger.exception("A plugin failed after a call of model code")

    def _made(self, number: int, make: UserCodeContext) -> AbstractContextManager[object] | WholeCall:
        made = make(self._context)
        if isinstance(made, WholeCall):
            self._lasting[number] = made
        return made
