"""The executor: loads a user's graphs, runs them and answers questions about them.

User code lives here and nowhere else. The package holds no credentials and knows no database: checkpoints go to the
threads service, memory to the store, events and outcomes to the runs api, all by gRPC.
"""
