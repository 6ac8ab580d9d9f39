"""What plugins put around the code of models, in the process where it runs; see the hook
``mlsrv_user_code``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import TypeAlias

from mlsrv.context import CallContext

logger = logging.getLogger("mlsrv.model")

UserCodeContext: TypeAlias = Callable[[CallContext], AbstractContextManager[object]]
"""Makes what one call of user code happens in. It is entered and left in the task of the call, whose context
variables synchronous user code sees in its thread, too."""


class Surroundings:
    """Everything that one model's code is called in. What fails there is logged, and changes no answer."""

    def __init__(self, contexts: Sequence[UserCodeContext]) -> None:
        self._contexts = contexts

    def enter(self, context: CallContext) -> ExitStack:
        """Enter all; the result is for `leave`."""
        stack = ExitStack()
        for make in self._contexts:
            try:
                stack.enter_context(make(context))
            except Exception:
                logger.exception("A plugin failed before model code was called")
        return stack

    def leave(
        self,
        entered: ExitStack,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave all, in reverse, with what the user code raised."""
        try:
            entered.__exit__(kind, error, trace)
        except Exception as raised:
            if raised is not error:
                logger.exception("A plugin failed after model code was called")
