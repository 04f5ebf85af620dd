"""Stores, which keep answers as bytes outside this process: in Redis or in a file.

A store knows nothing of requests and of how long answers are fresh.
Start with `base`, whose protocols a new store implements; `sealed` authenticates what stores return.
"""
