"""Storms, with figures: `pytest -m long -s tests/attacks` prints calls, delays, what is left, and memory."""
