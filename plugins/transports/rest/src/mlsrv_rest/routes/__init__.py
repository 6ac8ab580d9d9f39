"""The routes of the protocol, one module for each group."""
