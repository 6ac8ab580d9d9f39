"""Worker processes: an executor that runs models in processes of their own."""
