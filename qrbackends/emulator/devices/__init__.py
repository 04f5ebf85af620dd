"""What there is to serve: fleets of devices, recorded or made up, and their documents.

It knows nothing of HTTP. Start with `fleets`.
"""
