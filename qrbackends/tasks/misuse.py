"""What is said where something async is used by a plain `with`, `for` or `await`."""

from typing import TYPE_CHECKING, Any, ClassVar, NoReturn


class AsyncContext:
    """What `async with` opens and closes; a plain `with` says so.

    Attributes:
        _instead: what else there is for programs that are not async, to be added to what is said.
    """

    _instead: ClassVar[str] = ""

    if not TYPE_CHECKING:  # type checkers are to refuse it

        def __enter__(self) -> NoReturn:
            name = type(self).__name__
            raise TypeError(f"{name} is opened by `async with`, in an `async def`{self._instead}")

        def __exit__(self, *_: Any) -> None:
            pass  # `with` looks for it before it enters


class AsyncIteration:
    """What `async for` reads; a plain `for`, and an `await`, say so.

    Attributes:
        read_by: how it is read, as an example.
    """

    read_by: ClassVar[str]

    if not TYPE_CHECKING:

        def __iter__(self) -> NoReturn:
            raise TypeError(self._how())

        def __await__(self) -> NoReturn:
            raise TypeError(self._how())

        def _how(self) -> str:
            return f"{type(self).__name__} is read by {self.read_by}, in an `async def`"
