"""The HTTP service: an ASGI application, its pages and settings, and the process around it."""
