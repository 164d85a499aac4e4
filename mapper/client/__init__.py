"""What the command line does beside a request: reads rows, asks a server, moves files through a store."""
