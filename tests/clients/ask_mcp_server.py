"""qiskit-ibm-runtime-mcp-server: its tools, called as an agent calls them, in the order given as JSON."""

import asyncio
import json
import sys
from importlib.metadata import version
from typing import Any

from fastmcp import Client
from qiskit_ibm_runtime_mcp_server.server import mcp


async def ask(calls: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """Return the version of the server, and the answer to each call: a tool and its arguments."""
    async with Client(mcp) as client:
        answers = [(await client.call_tool(f"{tool}_tool", arguments)).data for tool, arguments in calls]
    return {"version": version("qiskit-ibm-runtime-mcp-server"), "answers": answers}


json.dump(asyncio.run(ask(json.loads(sys.argv[1]))), sys.stdout)
