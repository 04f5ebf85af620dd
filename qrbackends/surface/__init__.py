"""The service's HTTP surface as values: calls and answers, paths and parameters, error bodies, IAM's tokens.

Both servers of the service's own language, the emulator and the gateway, answer through it. It knows nothing
of sockets, and nothing of where the answers come from. Start with `wire`, then `routes` and `cloud`.
"""
