"""Analysis of calibrations: archives, comparisons, the best qubits, scores of circuits, layouts, plots.

It knows nothing of HTTP and of caching: it works on decoded documents, which the archive gets from a client.
Start with `qubits` or `archive`; the docstring of each module names the extra that it needs.
"""
