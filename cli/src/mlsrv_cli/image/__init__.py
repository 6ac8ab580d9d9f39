"""Image: container images of folders with models."""
