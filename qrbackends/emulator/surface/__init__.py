"""What the emulator alone has of the HTTP surface: ports, validators, faults, and the log of requests.

It knows nothing of the services behind it. Start with `handler`.
"""
