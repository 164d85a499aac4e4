"""Tables of any size scored by Spark: read, scored, counted and written in one pass, once or as a stream."""
