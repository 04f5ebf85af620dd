"""Stores, which keep answers as bytes outside this process: Redis, and a file.

A store knows neither requests nor policies. A new store implements a protocol in `base`; `sealed` makes any
store safe to use.
"""
