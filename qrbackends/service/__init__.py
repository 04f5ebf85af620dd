"""Requests with an account's credential: tokens, its instances, the Backends API, redaction and scrubbing.

It knows nothing of the cache and of which instance lists a backend.
Start with `origin`, which asks the Backends API; `sender` sends, retries and redacts.
"""
