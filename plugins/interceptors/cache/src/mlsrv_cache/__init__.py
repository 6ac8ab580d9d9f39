"""A response cache."""
