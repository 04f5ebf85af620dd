"""The service's data in the types of other libraries: Qiskit and prometheus-client.

It knows nothing of HTTP and of credentials: it uses a client, or converts decoded documents.
Start with `qiskit` or `prometheus`; each needs the extra that installs its library.
"""
