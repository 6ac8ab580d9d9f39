"""MLServer on mlsrv: serves models that were written for MLServer."""
