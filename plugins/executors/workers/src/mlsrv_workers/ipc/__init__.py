"""Inter-process communication: frames, serialization and shared memory between the server and a worker."""
