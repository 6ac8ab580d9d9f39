"""Routes: the endpoints of the protocol, one module for each group."""
