"""All backends at once: which instance has which, choosing, snapshots, changes and history.

It asks through the client's `fetch` and knows nothing of sockets, tokens or cache entries.
Start with `directory`, which routes a question to an instance.
"""
