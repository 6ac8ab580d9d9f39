"""Keys for mlsrv: API keys, JSON Web Tokens and client certificates, each with rights by action and model."""
