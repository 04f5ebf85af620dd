"""The service's data in the types of other libraries: Qiskit and prometheus-client.

Each module needs the extra that brings its library.
"""
