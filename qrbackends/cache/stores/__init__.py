"""Stores, which keep answers as bytes outside this process: Redis, and a file.

A store knows neither requests nor policies. Start with `base`: a new store implements one of its protocols;
`sealed` makes any store safe to use.
"""
