"""A YAML file of master data as plain values, with the line and column of everything in it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from decimal import Decimal
from typing import Any

import yaml

from muster.errors import PermanentError

MAX_BYTES = 10 * 1024 * 1024
"""A larger file is refused before it is parsed."""


class MasterFile:
    """A parsed file: its values, and where they stand."""

    def __init__(self, path: str, content: bytes) -> None:
        """Parse the content of the file called `path`.

        Raises:
            PermanentError: it is not UTF-8 or not YAML; the message says where.
        """
        self.path = path
        try:
            loader = _Loader(_text(path, content))
            self._root = loader.get_single_node()
            self.data = {} if self._root is None else loader.construct_document(self._root)
            """Mappings, lists, text, dates, and numbers as int or Decimal."""
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise PermanentError(f"{_place(path, mark)}: {error.problem or error.context}.") from error
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise PermanentError(f"{path}: this is not the YAML we take: {error}") from error

    def place(self, keys: Sequence[int | str]) -> str:
        """`file:line:column` of the value the keys lead to, or of the nearest thing above it."""
        node = self._root
        for key in keys:
            below = _below(node, key)
            if below is None:
                break
            node = below
        return _place(self.path, node.start_mark if node is not None else None)


class _Loader(yaml.SafeLoader):
    """YAML in which `on` is a word, a number is exact, a key stands once and nothing is repeated by alias."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool" or first in "tTfF"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Refuse aliases, because a few aliases of aliases make gigabytes of a small file."""
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases are not taken, write it out", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """The mapping; a key that is written twice is a mistake, which PyYAML itself lets pass."""
        mapping = super().construct_mapping(node, deep=deep)
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is written twice", key.start_mark
                )
            seen.add(key.value)
        return mapping

    def construct_exact(self, node: yaml.ScalarNode) -> Decimal:
        """The number as it was written, because a float would lose cents of large amounts."""
        try:
            return Decimal(node.value.replace("_", ""))
        except ArithmeticError:
            message = f"{node.value!r} is not a number we take"
            raise yaml.constructor.ConstructorError(None, None, message, node.start_mark) from None


_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_exact)


def _text(path: str, raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        message = f"{path}:{line}: byte 0x{raw[error.start]:02x} is not UTF-8."
        raise PermanentError(message, remedy="Save the file with the encoding UTF-8.") from error


def _below(node: yaml.Node | None, key: int | str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for name, value in node.value if name.value == str(key)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        below: yaml.Node = node.value[key]
        return below
    return None


def _place(path: str, mark: yaml.Mark | None) -> str:
    return path if mark is None else f"{path}:{mark.line + 1}:{mark.column + 1}"
