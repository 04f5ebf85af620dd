"""HTTP by region: sessions, the queue of waiting requests, rate limits, circuit breakers, retries and bodies.

It knows nothing of the five endpoints and of tokens: headers are given, and answers are bytes.
Start with `pool`; `throttle` handles a 429, and `breaker` handles failures in a row.
"""
