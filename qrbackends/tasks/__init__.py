"""Concurrency: single flights, the deadlines of calls, bounded fan-out, and who belongs to which event loop.

A thread for what may hang is here, too. It knows nothing of HTTP and nothing of IBM.
Start with `flight`.
"""
