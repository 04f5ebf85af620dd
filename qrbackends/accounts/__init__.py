"""Accounts: credentials, service instances, addresses, saved accounts, and the scopes of cached answers.

It knows nothing of requests and sends none; only `saved` reads files and the environment.
Start with `account`.
"""
