"""``mlsrv plugins check``."""
