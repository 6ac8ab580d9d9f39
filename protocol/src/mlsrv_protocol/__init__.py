"""The Open Inference Protocol as data: messages, datatypes, validation and wire forms.

Usable by a client alone; it opens no connection and starts nothing.
"""

from mlsrv_protocol import types
from mlsrv_protocol.errors import Code, InvalidOutput, InvalidPayload, MLSrvError
from mlsrv_protocol.types import *  # noqa: F403  # one list of the messages, kept in types

__all__ = ["Code", "InvalidOutput", "InvalidPayload", "MLSrvError"]
__all__ += types.__all__
