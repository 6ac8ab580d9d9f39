"""Runners: the classes that do tasks, each imported when a model of its task is loaded."""
