"""One region's wire: sessions, waiting requests, rate limits, the circuit breaker, retries and bodies.

It knows no request of the Backends API and no token; every answer is bytes.
Start with `pool`; a 429 is handled in `throttle`, failures in a row in `breaker`.
"""
