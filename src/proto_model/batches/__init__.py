"""Arrow columns in, columns of the answer out: what files and Spark share.

Importing this package, or a module of it, loads NumPy, pyarrow and the engine, no other library: Spark's
executors need nothing else.
"""
