"""Parameters of batches: which ones agree, how they are merged, and how they are dealt out again."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any

from mlsrv_protocol.types import InferenceRequest, InferenceResponse, Parameters, ResponseOutput

REQUEST_ONLY_KEYS = frozenset({"headers", "timeout", "priority"})
"""Request parameters that concern a single request and not the model's work."""

_PLAIN = (bool, int, float, str, bytes)


class NotDealt(Exception):
    """The merged values in a parameter of an answer cannot be told apart by request."""


def frozen(value: Any) -> Hashable:
    """Return a key that is equal for equal values of the same kinds; of an unknown kind, for itself alone."""
    if isinstance(value, Mapping):
        return "{}", frozenset((key, frozen(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return "[]", tuple(map(frozen, value))
    if value is None or isinstance(value, _PLAIN):
        return type(value), value
    return type(value), id(value)


def request_key(parameters: Parameters | None) -> Hashable:
    """Return a key that is equal for request parameters that mean the same to the model."""
    if parameters is None:
        return None
    relevant = {key: value for key, value in parameters.items() if key not in REQUEST_ONLY_KEYS}
    return frozen(relevant) if relevant else None


def output_key(parameters: Parameters | None) -> Hashable:
    """Return a key that is equal for equal parameters of requested outputs."""
    return None if parameters is None else frozen(parameters.dict()) if parameters.dict() else None


def input_key(parameters: Parameters | None, shared: Collection[str]) -> Hashable:
    """Return a key that is equal for parameters of inputs that can be merged.

    They have the same keys, with values of the same kinds, and the same values for the keys in `shared`.
    """
    if parameters is None:
        return None
    found = sorted(
        (key, frozen(value) if key in shared else type(value).__name__)
        for key, value in parameters.items()
        if key != "headers"
    )
    return tuple(found) or None


def merge(parameters: Sequence[Parameters | None], shared: Collection[str]) -> Parameters | None:
    """Return the parameters of a joined input, whose members agree by `input_key`.

    Each value becomes the list of the members' values, in their order; those for the keys in `shared` stay
    as they are.
    """
    given = [item for item in parameters if item is not None]
    if not given:
        return None
    extra: dict[str, Any] = {}
    for key, value in given[0].items():
        if key not in ("content_type", "headers"):
            extra[key] = value if key in shared else [item.extra[key] for item in given]
    return Parameters(given[0].content_type, None, **extra)


def has_merged(request: InferenceRequest, shared: Collection[str]) -> bool:
    """Return whether an input has a parameter that would be merged."""
    return any(
        tensor.parameters is not None and any(key not in shared for key in tensor.parameters.extra)
        for tensor in request.inputs
    )


class Dealer:
    """Deals the parameters of an answer out to the members of its batch.

    A list that was merged on the way in gives each member its own value, wherever the model put it: under the
    same key, or with the same values. A list for a key in `by_row` gives each member the values of its rows.
    Every other value is the model's, and all members get it.

    Args:
        joined: the joined request, before the model gets it.
        members: the number of its members.
        shared: the keys whose values were not merged.
        by_row: keys of output parameters that are lists with one value for each row.
    """

    def __init__(
        self,
        joined: InferenceRequest,
        members: int,
        shared: Collection[str] = (),
        by_row: Collection[str] = (),
    ) -> None:
        self._members = members
        self._by_row = by_row
        self._keys: set[str] = set()
        self._lists: set[Hashable] = set()
        for tensor in joined.inputs:
            if tensor.parameters is not None:
                for key, value in tensor.parameters.extra.items():
                    if key not in shared:
                        self._keys.add(key)
                        self._lists.add(frozen(value))

    def splits_rows(self, output: ResponseOutput, rows: int) -> bool:
        """Return whether every list for a key in `by_row` has one value for each row."""
        if not self._by_row or output.parameters is None:
            return True
        lists = [output.parameters.extra.get(key) for key in self._by_row]
        return all(len(found) == rows for found in lists if isinstance(found, list | tuple))

    def of_output(self, output: ResponseOutput, member: int, start: int, end: int) -> Parameters | None:
        """Return the parameters of an output for one member, whose rows are from `start` to before `end`.

        Raises:
            NotDealt: a merged list does not have one value for each member.
        """
        return self._dealt(output.parameters, member, slice(start, end))

    def of_response(self, response: InferenceResponse, member: int) -> Parameters | None:
        """Return the parameters of a response for one member. Raises as `of_output`."""
        return self._dealt(response.parameters, member, None)

    def _dealt(self, given: Parameters | None, member: int, rows: slice | None) -> Parameters | None:
        if given is None:
            return None
        headers = None if given.headers is None else dict(given.headers)
        extra = dict(given.extra)
        if rows is not None:
            for key in self._by_row:
                if isinstance(extra.get(key), list | tuple):
                    extra[key] = list(extra[key][rows])
        if self._keys:
            taken = self._by_row if rows is not None else ()
            extra = {
                key: value if key in taken else self._own(key, value, member) for key, value in extra.items()
            }
        return Parameters(given.content_type, headers, **extra)

    def _own(self, key: str | None, value: Any, member: int) -> Any:
        if isinstance(value, Mapping):
            return {name: self._own(name, item, member) for name, item in value.items()}
        if not isinstance(value, list | tuple):
            return value
        if key not in self._keys and frozen(value) not in self._lists:
            return [self._own(None, item, member) for item in value]
        if len(value) != self._members:
            raise NotDealt(f'a list of other length for the parameter "{key}"')
        return value[member]
