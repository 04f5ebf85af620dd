"""The cache of answers: the memory tier, the shared tier, how long answers are fresh, and their renewal.

Ages in memory are told by a clock that never goes back, and goes on while the machine sleeps; those of the
shared tier by the wall clocks of the machines. No age is negative: after a clock was set back, an entry from
the future is not fresh for anybody, and is used only while the service fails.

It knows nothing of the fleet: every entry is one answer of one instance.
Start with `cache`; `policy` has how long answers are fresh, and `decision` judges an entry by it.
"""
