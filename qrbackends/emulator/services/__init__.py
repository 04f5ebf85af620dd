"""The services: the Backends API of a region, IAM, Global Search and Global Catalog.

They know nothing of ports. Start with `service`.
"""
