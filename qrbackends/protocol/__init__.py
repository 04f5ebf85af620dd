"""The requests of the Backends API as values, their headers, and answers decoded to structs or errors.

It does no I/O, and knows nothing of sessions and caches.
Start with `requests`, which defines the five endpoints, each with the struct of its answer in `models`; a
sixth also needs its freshness in `cache.policy`, a method of `Client`, and an answer of the emulator.
"""
