"""What calibrations tell: archives, drift, choosing qubits, layouts, tables and plots.

It works on decoded documents; only `archive` asks a client for them.
Start with `qubits` or `archive`; each module names the extra that it needs.
"""
