"""Console of a server in the browser: its models, a form for requests, activity, load and unload."""
