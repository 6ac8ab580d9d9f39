"""Export: manifests that run the image of a folder of models elsewhere."""
