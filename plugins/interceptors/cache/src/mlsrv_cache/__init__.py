"""Response cache: an interceptor that answers repeated requests from memory."""
