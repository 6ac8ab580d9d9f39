"""CloudEvents: the binary and the structured mode of the Kafka protocol binding 1.0."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from mlsrv.errors import InvalidPayload
from mlsrv_kafka.records import RawHeaders
from mlsrv_protocol.json import decode_json_object, dumps

CONTENT_TYPE: Final = "content-type"
STRUCTURED: Final = "application/cloudevents+json"
RESPONSE_TYPE: Final = "io.mlsrv.inference.response"

_PREFIX: Final = "ce_"
_ANY: Final = "application/cloudevents"


@frozen
class Event:
    """An event without its data.

    Attributes:
        attributes: by name; those that are texts.
        structured: whether it came in the structured mode.
    """

    attributes: Mapping[str, str]
    structured: bool


def binary_event(headers: Mapping[str, str]) -> Event | None:
    """Return the event whose attributes are headers (names in lower case); None if there is none."""
    if _PREFIX + "specversion" not in headers:
        return None
    found = {name.removeprefix(_PREFIX): value for name, value in headers.items() if name.startswith(_PREFIX)}
    return Event(found, False)


def is_structured(headers: Mapping[str, str]) -> bool:
    """Return whether headers say that the value is a whole event.

    Raises:
        InvalidPayload: it is a batch of events, or in another format than JSON.
    """
    content_type = headers.get(CONTENT_TYPE)
    if not content_type:
        return False
    content_type = content_type[: len(STRUCTURED) + 1].lower()
    if not content_type.startswith(_ANY):
        return False
    if content_type.partition(";")[0].rstrip() != STRUCTURED:
        raise InvalidPayload(
            f"The content type is {headers[CONTENT_TYPE][:60]!r}; of CloudEvents, one event as JSON is taken "
            f"({STRUCTURED})."
        )
    return True


def structured_event(value: bytes) -> tuple[Event, bytes]:
    """Return an event and its data, which is JSON where the event has it as such.

    Raises:
        InvalidPayload: the value is no event, or it has no data.
    """
    fields = decode_json_object(value)
    if "specversion" not in fields:
        raise InvalidPayload("The value is no CloudEvent: it has no specversion.")
    event = Event({name: text for name, text in fields.items() if isinstance(text, str)}, True)
    if "data_base64" in fields:
        try:
            return event, base64.b64decode(fields["data_base64"], validate=True)
        except (TypeError, ValueError, binascii.Error):
            raise InvalidPayload("data_base64 of the CloudEvent is not base64.") from None
    data = fields.get("data")
    if data is None:
        raise InvalidPayload("The CloudEvent has no data.")
    return event, data.encode("utf-8", "replace") if isinstance(data, str) else dumps(data)


def response_attributes(request: Event, source: str, identity: str) -> dict[str, str]:
    """Return the attributes of the event that answers an event.

    Args:
        request: the event that is answered.
        source: URI reference of what answers.
        identity: unique among the events of `source`.
    """
    found = {"specversion": "1.0", "id": identity, "source": source, "type": RESPONSE_TYPE}
    for name in ("partitionkey", "subject"):
        if name in request.attributes:
            found[name] = request.attributes[name]
    return found


def binary_headers(attributes: Mapping[str, str]) -> RawHeaders:
    """Return the headers of an event in the binary mode."""
    return [(_PREFIX + name, value.encode("utf-8", "replace")) for name, value in attributes.items()]


def structured_value(attributes: Mapping[str, str], data: bytes, content_type: str) -> bytes:
    """Return the value of an event in the structured mode. Data that is not JSON becomes base64."""
    fields: dict[str, Any] = {**attributes, "datacontenttype": content_type}
    if content_type == "application/json":
        # The data is JSON already: it is not decoded only to be written again.
        return dumps(fields)[:-1] + b',"data":' + data + b"}"
    return dumps(fields | {"data_base64": base64.b64encode(data).decode("ascii")})
