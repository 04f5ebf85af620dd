"""The gateway: the service's own language on one side, the cache and the service on the other.

`service` answers calls from the caches of an `upstream`, which keep the service's very bytes; `own` and
`forward` say whose credential is used and who may ask; `relay` streams what is not cached. It knows nothing
of the documents' meaning but for the status in the list. Start with `service`.
"""
