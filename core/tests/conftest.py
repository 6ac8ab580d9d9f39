from mlsrv.testing.fixtures import *  # noqa: F403  # fixtures are found by their names in this module
