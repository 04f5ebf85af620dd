"""Who asks: credentials, service instances, addresses, saved accounts, and who may read what is cached.

It sends nothing and reads no answer; it knows the environment and the file of saved accounts.
Start with `account`.
"""
