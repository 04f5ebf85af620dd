"""Concurrency: single flights, the deadlines of calls, and bounded fan-out.

It knows nothing of HTTP and nothing of IBM.
Start with `flight`.
"""
