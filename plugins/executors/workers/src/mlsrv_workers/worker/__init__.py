"""Worker: the code that runs in a worker process."""
