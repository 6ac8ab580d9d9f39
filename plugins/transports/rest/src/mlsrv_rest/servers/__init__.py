"""HTTP servers that carry the application: one contract, a module for each server."""
