"""All backends of an account: the directory, ranking, snapshots, watches, the monitor, histories, recordings.

It knows nothing of HTTP, tokens and how answers are cached: it gets them from a function `fetch`, and only
`recorder` sees the bodies.
Start with `directory`, which finds the instance that lists a backend.
"""
