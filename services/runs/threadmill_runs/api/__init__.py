"""The runs api process: gRPC over assistants, queue and events, and the duties that keep the queue moving."""
