"""An agent: the SDK's own client, which checks each answer against its tool's schema, and we its bound."""

import json
import os
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from mcp import Client as Agent
from mcp import StdioServerParameters
from mcp_types import CallToolResult, TextContent, TextResourceContents

BOUND = 4_000  # bytes of a tool's answer on the wire, whatever an encoder makes of its texts
PIECE = 16_000  # bytes of a piece of a document


def size(result: Any) -> int:
    """Return the most bytes that a result takes on the wire."""
    told = result.model_dump(by_alias=True, mode="json", exclude_none=True)
    return len(json.dumps(told, separators=(",", ":")))


async def called(agent: Agent, tool: str, arguments: dict[str, Any]) -> CallToolResult:
    """Call a tool; its answer is within the bound."""
    result = await agent.call_tool(tool, arguments)
    assert isinstance(result, CallToolResult)
    assert size(result) <= BOUND
    return result


async def ask(agent: Agent, tool: str, **arguments: Any) -> dict[str, Any]:
    """Return the answer of a tool, which is there as text and as structured content."""
    result = await called(agent, tool, arguments)
    (content,) = result.content
    assert isinstance(content, TextContent)
    assert not result.is_error, content.text
    assert json.loads(content.text) == result.structured_content
    answer: dict[str, Any] = result.structured_content
    assert answer["emulated"] is True
    assert answer["age_seconds"] >= 0
    return answer


async def refused(agent: Agent, tool: str, **arguments: Any) -> dict[str, Any]:
    """Return the error of a tool."""
    result = await called(agent, tool, arguments)
    (content,) = result.content
    assert isinstance(content, TextContent)
    assert result.is_error
    assert result.structured_content is None
    assert "Traceback" not in content.text
    error: dict[str, Any] = json.loads(content.text)
    return error


async def read(agent: Agent, uri: str) -> dict[str, Any]:
    """Return a piece of a document, which is within the bound."""
    result = await agent.read_resource(uri)
    assert size(result) <= PIECE
    (contents,) = result.contents
    assert isinstance(contents, TextResourceContents)
    assert contents.mime_type == "application/json"
    piece: dict[str, Any] = json.loads(contents.text)
    return piece


def over_stdio(*arguments: str, **environment: str) -> AbstractAsyncContextManager[Agent]:
    """Return an agent whose host has started `python -m qrbackends mcp`."""
    own = {"PYTHONPATH": str(Path.cwd())} | {
        name: os.environ[name] for name in ("HOME",) if name in os.environ
    }
    command = ["-W", "error", "-m", "qrbackends", "mcp", *arguments]
    return Agent(StdioServerParameters(command=sys.executable, args=command, env=own | environment))
