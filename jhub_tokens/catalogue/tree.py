"""YAML text to plain data that remembers its lines.

The text is composed into YAML nodes and walked here, rather than constructed by the YAML
library: every mistake then has a line, several duplicate keys are all found in one go, and a
"billion laughs" of aliases ends at a limit instead of filling the memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from jhub_tokens.catalogue.problems import Problem

__all__ = ["Path", "Tree", "field_name", "read_tree"]

Path = tuple[str | int, ...]

_NODES_MAX = 50_000
_DEPTH_MAX = 20
_MERGE = "tag:yaml.org,2002:merge"
_PLAIN_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp")
)


def field_name(path: Path) -> str:
    """Write a path as people do: ``assign[0].plan``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


@dataclass(slots=True)
class Tree:
    """Plain data, the line of each path, and what was wrong with the YAML itself."""

    source: str
    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, path: Path) -> int | None:
        """Return the line of `path`, or of the nearest thing around it that has one."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return None

    def report(self, path: Path, message: str, remedy: str) -> None:
        """Add an error about `path`."""
        self.problems.append(
            Problem(self.source, self.line(path), field_name(path), message, remedy)
        )


class _TooMuchError(Exception):
    """The walk met a limit; the problem is already reported."""


def read_tree(text: str, source: str) -> Tree:
    """Read YAML `text`; the tree's `problems` say what could not be read."""
    tree = Tree(source)
    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(text)
    except (MarkedYAMLError, ReaderError) as error:
        tree.problems.append(_syntax_problem(error, text, source))
        return tree
    except (YAMLError, ValueError, RecursionError) as error:
        detail = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        tree.problems.append(Problem(source, None, "", f"not readable as YAML: {detail}", ""))
        return tree
    if root is None:
        tree.problems.append(
            Problem(source, None, "", "the file is empty", "Start from the example in the docs")
        )
        return tree
    try:
        tree.data = _Walk(tree, yaml).visit(root, (), 0)
    except _TooMuchError:
        tree.data = None
    return tree


class _Walk:
    def __init__(self, tree: Tree, yaml: Any) -> None:
        self._tree = tree
        self._constructor = yaml.constructor
        self._visited = 0
        self._open: set[int] = set()

    def visit(self, node: Node, path: Path, depth: int) -> Any:
        if id(node) in self._open:
            self._tree.report(path, "this alias contains itself", "Write its value out")
            return None
        self._visited += 1
        if self._visited > _NODES_MAX or depth > _DEPTH_MAX:
            self._tree.report(
                path,
                "the file is nested too deeply"
                if depth > _DEPTH_MAX
                else f"the file unfolds to more than {_NODES_MAX} values",
                "Write it without aliases (*name) that repeat large parts",
            )
            raise _TooMuchError
        self._tree.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        self._open.add(id(node))
        try:
            if isinstance(node, MappingNode):
                return self._mapping(node, path, depth)
            return [
                self.visit(item, (*path, index), depth + 1) for index, item in enumerate(node.value)
            ]
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: MappingNode, path: Path, depth: int) -> dict[str, Any]:
        data: dict[str, Any] = {}
        merged: list[dict[str, Any]] = []
        first_lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == _MERGE:
                self._tree.lines[(*path, "<<")] = line
                merged.extend(self._merged(value_node, path, depth))
                continue
            key = self._key(key_node, path, line)
            if key is None:
                continue
            if key in first_lines:
                self._tree.problems.append(
                    Problem(
                        self._tree.source,
                        line,
                        field_name((*path, key)),
                        f"this key is already there, on line {first_lines[key]}",
                        "Remove one of the two",
                    )
                )
                continue
            first_lines[key] = line
            self._tree.lines[(*path, key)] = line
            data[key] = self.visit(value_node, (*path, key), depth + 1)
        for extra in merged:
            for key, value in extra.items():
                data.setdefault(key, value)
        return data

    def _merged(self, node: Node, path: Path, depth: int) -> list[dict[str, Any]]:
        nodes = node.value if isinstance(node, SequenceNode) else [node]
        found = []
        for part in nodes:
            if not isinstance(part, MappingNode):
                self._tree.report((*path, "<<"), "only a mapping can be merged", "Remove it")
                continue
            found.append(self.visit(part, (*path, "<<"), depth + 1) or {})
        return found

    def _key(self, node: Node, path: Path, line: int) -> str | None:
        source = self._tree.source
        if not isinstance(node, ScalarNode):
            message = "a key must be a word, not a list or mapping"
            remedy = "Write key: value"
        elif node.tag != "tag:yaml.org,2002:str":
            message = f"the key {node.value[:60]} is not text"
            remedy = f'Put it in quotes: "{node.value[:60]}"'
        else:
            return str(node.value)
        self._tree.problems.append(Problem(source, line, field_name(path), message, remedy))
        return None

    def _scalar(self, node: Node, path: Path) -> Any:
        if node.tag not in _PLAIN_TAGS:
            self._tree.report(
                path, f"the YAML tag {str(node.tag)[:60]} is not used here", "Remove it"
            )
            return None
        try:
            return self._constructor.construct_object(node, deep=True)
        except (ValueError, OverflowError, YAMLError):
            self._tree.report(
                path, f"'{str(node.value)[:60]}' cannot be read as a value", "Put it in quotes"
            )
            return None


def _syntax_problem(error: MarkedYAMLError | ReaderError, text: str, source: str) -> Problem:
    if isinstance(error, ReaderError):
        line = text.count("\n", 0, error.position) + 1
        character = error.character
        code = character if isinstance(character, int) else ord(character[0])
        return Problem(source, line, "", f"the character U+{code:04X} cannot be here", "Remove it")
    mark = error.problem_mark or error.context_mark
    at_line: int | None = mark.line + 1 if mark else None
    what = error.problem or error.context or "it breaks off"
    marked = text.splitlines()[mark.line : mark.line + 1] if mark else []
    if "\\t" in what or (marked and marked[0].lstrip(" ").startswith("\t")):
        message, remedy = "a tab indents this line", "Indent with spaces"
    elif "alias" in what:
        message, remedy = what, "Define it with &name before *name, or quote the *"
    elif "single document" in str(error):
        message, remedy = "a second document starts here (---)", "Keep one document in the file"
    else:
        message = f"not readable as YAML: {what}"
        remedy = "Check the indentation, the colons and the quotes around here"
    return Problem(source, at_line, "", message, remedy)
