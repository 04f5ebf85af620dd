"""The cache of answers: the memory tier, the shared tier, how long answers are fresh, and their renewal.

It knows nothing of the fleet: every entry is one answer of one instance.
Start with `cache`; `policy` has how long answers are fresh, and `decision` judges an entry by it.
"""
