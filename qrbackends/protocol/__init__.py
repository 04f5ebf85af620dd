"""The requests of the Backends API and their answers as values: paths, headers, structs and errors.

It does no I/O and knows neither sessions nor caches.
Start with `requests`, where an endpoint is added; `answers` turns bytes into structs or errors.
"""
