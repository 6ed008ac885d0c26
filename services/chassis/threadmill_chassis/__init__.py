"""What every Threadmill process is built on: gRPC set-up, error mapping, Postgres pool, migrations, settings, logging.

Small, and without business: it knows of no thread, run or item.
"""
