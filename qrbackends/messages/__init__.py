"""Parts of what is said to people: nearest names, missing packages, and numbers of things.

It knows nothing of IBM's service, nor of who says it.
Start with `suggestions` for the names that are like another one, or with `extras` for what to install.
"""
