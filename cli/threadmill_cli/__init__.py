"""The `threadmill` command: runs the system on one machine, each process by itself, and the migrations.

It starts services as processes and knows them by module name only; what they do is theirs.
"""
