"""Base: the base class of all messages, with the methods of pydantic 1 beside those of pydantic 2."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import pydantic

__all__ = ["BaseModel"]


class BaseModel(pydantic.BaseModel):
    """Base of the messages. Fields that are unset or None are left out when a message is written."""

    model_config = pydantic.ConfigDict(use_enum_values=True, protected_namespaces=())

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """Return plain data; the options are pydantic's."""
        return super().model_dump(**_written(options))

    def model_dump_json(self, **options: Any) -> str:
        """Return JSON text; the options are pydantic's."""
        return super().model_dump_json(**_written(options))

    def dict(self, **options: Any) -> dict[str, Any]:
        """Return what `model_dump` returns."""
        return self.model_dump(**options)

    def json(self, **options: Any) -> str:
        """Return what `model_dump_json` returns."""
        return self.model_dump_json(**options)

    def copy(self, **options: Any) -> Self:
        """Return what `model_copy` returns."""
        return self.model_copy(**options)

    @classmethod
    def parse_obj(cls, obj: Any) -> Self:
        """Return what `model_validate` returns."""
        return cls.model_validate(obj)

    @classmethod
    def parse_raw(cls, b: str | bytes, **options: Any) -> Self:
        """Return what `model_validate_json` returns."""
        return cls.model_validate_json(b)

    @classmethod
    def parse_file(cls, path: str | Path, **options: Any) -> Self:
        """Read a message from a JSON file."""
        return cls.model_validate_json(Path(path).read_bytes())


def _written(options: dict[str, Any]) -> dict[str, Any]:
    return {"exclude_unset": True, "exclude_none": True, **options}
