"""The HTTP surface: ports, calls and answers as values, validators, faults, and the log of requests.

It knows nothing of the services behind it. Start with `handler`.
"""
