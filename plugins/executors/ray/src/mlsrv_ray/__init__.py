"""mlsrv-ray: the executor "ray", which runs models in actors of a Ray cluster."""
