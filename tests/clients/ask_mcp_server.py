"""qiskit-ibm-runtime-mcp-server: its tools for backends, called as an agent calls them."""

import asyncio
import json
import sys
from importlib.metadata import version
from typing import Any

from fastmcp import Client
from qiskit_ibm_runtime_mcp_server.server import mcp


async def ask(name: str) -> dict[str, Any]:
    """Return the answers of the tools; those for one backend are asked about `name`."""
    async with Client(mcp) as client:

        async def call(tool: str, **arguments: Any) -> Any:
            return (await client.call_tool(f"{tool}_tool", arguments)).data

        return {
            "version": version("qiskit-ibm-runtime-mcp-server"),
            "backends": await call("list_backends"),
            "least_busy": await call("least_busy_backend"),
            "properties": await call("get_backend_properties", backend_name=name),
            "calibration": await call("get_backend_calibration", backend_name=name, qubit_indices=[0, 1]),
            "coupling_map": await call("get_coupling_map", backend_name=name),
            "chains": await call("find_optimal_qubit_chains", backend_name=name, chain_length=3),
            "instances": await call("available_instances"),
            "usage": await call("usage_info"),
        }


json.dump(asyncio.run(ask(sys.argv[1])), sys.stdout)
