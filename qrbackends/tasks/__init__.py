"""Work shared between tasks: single flights, deadlines, and asking many things at once.

It knows nothing of HTTP and nothing of IBM.
Start with `flight`.
"""
