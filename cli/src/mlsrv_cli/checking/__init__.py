"""Plugin checks: the command ``mlsrv plugins check``."""
