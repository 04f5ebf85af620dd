"""A script: parts of pages, drawn before and after a fork. It prints what became of them as JSON."""

import asyncio
import json
import sys

from qrbackends.web.renderings import Renderings

from ..forking import in_child


class Source:
    """A document."""


SOURCE = Source()
RENDERINGS: Renderings[bytes] = Renderings()


def drawn(what: str) -> str:
    """Draw a part that is slow, and one that is not."""

    async def draw() -> str:
        slow = await RENDERINGS.part((what, True), (SOURCE,), what.encode, slow=True)
        quick = await RENDERINGS.part((what, False), (SOURCE,), what.encode)
        return f"{slow.decode()}, {quick.decode()}"

    return asyncio.run(draw())


if __name__ == "__main__":
    before = drawn("parent")
    json.dump({"parent": before, "child": in_child(lambda: drawn("child"))}, sys.stdout)
