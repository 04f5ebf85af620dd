"""One account's way to IBM: bearer tokens, the account's instances, and questions to the Backends API.

It keeps no answers; it knows no backend beyond the request that names it.
Start with `origin`.
"""
