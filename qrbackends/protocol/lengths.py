"""How long an answer may be, in bytes after decompression.

Configurations, properties and defaults may have as many as the client's own limit allows. All others are far
shorter, and so is their limit: it bounds what a hostile or broken server can make the client decode.
"""

from typing import Final

ERROR_BYTES: Final = 64 * 2**10
"""What is read of an answer with another status than 200; the service's own errors have less than 1 kB."""

MOST_BYTES: Final[dict[str, int]] = {
    "backends": 16 * 2**20,  # 1.2 kB for a backend, and so more than 10,000 of them
    "status": 2**20,  # 200 bytes and a message
    "versions": 2**20,  # 80 bytes for each
    "token": 256 * 2**10,  # two tokens of 2 kB each; what is longer fits in no header
    "search": 4 * 2**20,  # a page of 100 instances of some kB each
    "catalog": 4 * 2**20,  # a plan with its prices in every country
}
"""The longest answers of a resource, or of IAM, Global Search and Global Catalog."""
