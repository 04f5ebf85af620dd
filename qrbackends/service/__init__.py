"""Requests with an account's credential: tokens, the account's instances, the Backends API, and redaction.

It knows nothing of the cache and of which instance lists a backend.
Start with `origin`, which asks the Backends API; `sender` sends, retries and redacts.
"""
