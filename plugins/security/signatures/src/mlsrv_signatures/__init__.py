"""Signatures and digests of models, in the format of OpenSSF model signing."""
