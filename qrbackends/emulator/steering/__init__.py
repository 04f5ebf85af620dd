"""Steering: what can be done to an emulator that runs, from Python, over HTTP, or by a scenario.

It knows nothing of how an emulator is built. Start with `steering`.
"""
