"""What is said to people: of a name that there is not, and of a package that is not installed.

It knows nothing of IBM's service, nor of who says it.
Start with `suggestions` for the names that are like another one, or with `extras` for what to install.
"""
