"""Python environments of models: found, unpacked or built, and checked before a worker starts in one."""
