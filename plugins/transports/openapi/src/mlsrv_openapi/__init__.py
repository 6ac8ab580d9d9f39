"""Live documentation of a server: OpenAPI documents and Swagger UI."""
