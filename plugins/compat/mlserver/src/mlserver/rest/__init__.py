"""REST: answers of custom handlers."""
