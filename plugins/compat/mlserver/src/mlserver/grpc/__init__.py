"""gRPC: messages, stubs and converters for clients."""
