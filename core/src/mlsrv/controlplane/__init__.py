"""Control plane: which models there are, and how they are loaded, replaced and unloaded."""
