"""Accounts: credentials, service instances, addresses, saved accounts, and the scopes of cached answers.

It knows nothing of requests and sends none; only `saved` reads the environment, and `account_file` and
`replacing` the disk.
Start with `account`. Programs manage saved accounts with the functions of `management`, which are here, too.
"""

from .management import SavedAccount, delete_account, list_accounts, save_account, use_account

__all__ = ["SavedAccount", "delete_account", "list_accounts", "save_account", "use_account"]
