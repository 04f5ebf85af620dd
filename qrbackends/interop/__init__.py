"""Other libraries' views of a backend: a Qiskit backend and target, and metrics for Prometheus.

Each module needs the extra of its name and knows nothing of the other one.
Start with `qiskit` or `prometheus`.
"""
