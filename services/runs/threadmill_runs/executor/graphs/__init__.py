"""The user's graphs: read from langgraph.json, imported once, opened for each use, and asked about.

`registry` gives graphs to the run loop; `views` answers the Graphs service. Neither stores anything: state is read
and written through the checkpointer that they are handed.
"""
