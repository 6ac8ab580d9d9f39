"""How far the two ends of a stream may be apart."""

STREAM_WINDOW = 16
"""Messages of a stream that may be on their way, in each direction, before the other end takes one."""

STREAM_CREDIT = 8
"""After how many messages the sender is told that they were taken."""
