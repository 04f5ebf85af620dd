"""The requests of the Backends API as values, their headers, and answers decoded to structs or errors.

It does no I/O, and knows nothing of sessions and caches.
Start with `requests`, which defines the five endpoints; `answers` decodes bodies.
"""
