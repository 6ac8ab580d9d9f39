"""mlsrv-executor-kit: what executors share that place models in other processes; see its modules."""
