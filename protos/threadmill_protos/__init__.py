"""Generated gRPC stubs of Threadmill. Do not edit: `make generate`."""
