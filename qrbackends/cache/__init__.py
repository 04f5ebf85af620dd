"""What is known already: answers in memory, what is fresh, and the tier that workers share.

It knows no fleet: every entry is one answer of one instance.
Start with `cache`; how long answers are fresh is in `policy`, what is done with an entry in `decision`.
"""
