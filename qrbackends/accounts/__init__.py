"""Accounts: credentials, service instances, addresses, saved accounts, and the scopes of cached answers.

Nothing here sends a request. `saved` reads the environment and the file of saved accounts. Start with
`account`.
"""
