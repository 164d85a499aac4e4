"""The documentation site: what it is put together from, and the reference that the code's tables give."""
