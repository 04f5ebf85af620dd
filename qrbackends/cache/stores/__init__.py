"""Places outside this process that hold answers as bytes: Redis, and a file.

They know neither requests nor policies; `sealed` makes any store safe to use.
A new store implements the protocol in `base`.
"""
