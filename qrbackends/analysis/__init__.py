"""What can be computed from calibrations: archives, comparisons, the best qubits, layouts, tables and plots.

Its modules work on decoded documents; only `archive` uses a client. Start with `qubits` or `archive`. The
docstring of each module names the extra that it needs.
"""
