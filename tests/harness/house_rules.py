"""The project's own lint: how rooms that touch trees of somebody else may touch them.

A path is looked up once, below a descriptor; so calls that take a plain path are refused there. What the engine itself
has named, and nobody else can write to, is marked `# own: REASON`, on the call or on the `def` that it stands in. Walks
are loops: a function that calls itself is refused.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

_OWN = re.compile(r"#\s*own:\s*\S")
_PATH_CALLS = frozenset(
    """open stat lstat listdir scandir walk fwalk mkdir makedirs unlink remove rmdir removedirs rename renames replace
    link symlink readlink mknod mkfifo chmod chown lchown lchmod utime access truncate getxattr setxattr listxattr
    removexattr chdir chroot statvfs""".split()  # noqa: SIM905 (a list of words)
)
"""Of `os`: each takes a path."""
_PATH_QUESTIONS = frozenset({"exists", "lexists", "isdir", "isfile", "islink", "ismount", "getsize", "realpath"})
"""Of `os.path`."""
_BY_DESCRIPTOR = frozenset(
    """stat listdir scandir chmod chown utime truncate getxattr setxattr listxattr removexattr chdir
    statvfs""".split()  # noqa: SIM905
)
"""Those that take a descriptor in a path's place (os.supports_fd)."""
_ASKED = frozenset(
    """exists is_dir is_file is_symlink is_mount stat lstat iterdir unlink rmdir read_bytes
    resolve""".split()  # noqa: SIM905
)
"""Methods of Path that take nothing; with an argument, or awaited, they are something else's."""
_DONE = frozenset(
    """rglob glob walk read_text write_text write_bytes mkdir touch chmod symlink_to hardlink_to readlink
    rename""".split()  # noqa: SIM905
)
"""Methods of Path that nothing else here has, or that are awaited elsewhere."""
_NOT_PATHS = frozenset({"walk", "read_text", "readlink"})
"""Of these, what other objects have too: told apart by an argument."""
_OPENERS = re.compile(
    r"_?(open\w*|exact\w*|dup|reopen|make_directories|make_file|memfd_create|enter|directory|clone\w*|make)"
)
"""Functions whose result is a descriptor."""
_MODE = re.compile(r"[rwxab+t]{1,4}")


@dataclass(frozen=True, slots=True)
class Breach:
    """What is wrong on a line."""

    line: int
    why: str


def breaches(source: str) -> list[Breach]:
    """Of one module, in order."""
    tree = ast.parse(source)
    lines = source.splitlines()
    checker = _Checker(lines)
    checker.visit(tree)
    return sorted(checker.found, key=lambda b: b.line)


def _dotted(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    parts.append(node.id if isinstance(node, ast.Name) else "?")
    return ".".join(reversed(parts))


class _Checker(ast.NodeVisitor):
    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._functions: list[tuple[str, bool]] = []
        """Names of the functions around a call, and whether they are methods."""
        self._in_class = False
        self._owned = 0
        self._awaited: set[int] = set()
        self._descriptors: list[set[str]] = [set()]
        self.found: list[Breach] = []

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        before, self._in_class = self._in_class, True
        self.generic_visit(node)
        self._in_class = before

    # -- functions ----------------------------------------------------------------------------------------------

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        head = range(node.lineno, node.body[0].lineno)
        owned = any(_OWN.search(self._lines[number - 1]) for number in head)
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        held = {
            a.arg for a in arguments if a.annotation is not None and "int" in ast.unparse(a.annotation).split(" | ")
        }
        method, self._in_class = self._in_class, False
        self._functions.append((node.name, method))
        self._owned += owned
        self._descriptors.append(held | set(_assigned_descriptors(node)))
        self.generic_visit(node)
        self._descriptors.pop()
        self._owned -= owned
        self._functions.pop()
        self._in_class = method

    # -- calls --------------------------------------------------------------------------------------------------

    def visit_Await(self, node: ast.Await) -> None:
        self._awaited.add(id(node.value))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if why := self._wrong(node):
            span = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            if not self._owned and not any(_OWN.search(self._lines[number - 1]) for number in span):
                self.found.append(Breach(node.lineno, why))
        self._recursion(node)
        self.generic_visit(node)

    def _recursion(self, node: ast.Call) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        by_self = _dotted(node.func) in (f"self.{name}", f"cls.{name}")
        if (isinstance(node.func, ast.Name) or by_self) and (name, by_self) in self._functions:
            self.found.append(Breach(node.lineno, f"{name} calls itself: walks are loops"))

    def _wrong(self, node: ast.Call) -> str:
        name = _dotted(node.func)
        module, _, last = name.rpartition(".")
        if name == "open":
            return "" if self._is_descriptor(node) else "open() of a path"
        if module == "shutil":
            return "" if last == "which" else name
        if module == "os" and last in _PATH_CALLS:
            return "" if self._by_descriptor(node, last) else f"{name} of a path"
        if module == "os.path" and last in _PATH_QUESTIONS:
            return name
        if last in ("extractall",):
            return name
        if isinstance(node.func, ast.Attribute) and module not in ("os", "posixpath", "tarfile"):
            return self._of_a_path(node, last)
        return ""

    def _of_a_path(self, node: ast.Call, last: str) -> str:
        if id(node) in self._awaited:
            return ""
        # os.DirEntry has some of these, which follow nothing when asked so.
        follows = not any(k.arg == "follow_symlinks" for k in node.keywords)
        if last in _ASKED and not node.args and follows:
            return f"Path.{last}"
        if last in _DONE and not (last in _NOT_PATHS and node.args):
            return f"Path.{last}"
        first = node.args[0] if node.args else None
        if last == "open" and isinstance(first, ast.Constant) and _MODE.fullmatch(str(first.value)):
            return "Path.open"
        return ""

    def _by_descriptor(self, node: ast.Call, last: str) -> bool:
        keywords = {keyword.arg for keyword in node.keywords}
        if last in ("rename", "renames", "replace", "link"):
            return {"src_dir_fd", "dst_dir_fd"} <= keywords
        if "dir_fd" in keywords or self._is_handle(node):
            return True
        return last in _BY_DESCRIPTOR and self._is_descriptor(node)

    def _is_handle(self, node: ast.Call) -> bool:
        first = node.args[0] if node.args else None
        return isinstance(first, ast.Call) and _dotted(first.func) == "handle"

    def _is_descriptor(self, node: ast.Call) -> bool:
        first = node.args[0] if node.args else None
        if isinstance(first, ast.Attribute):
            return first.attr in ("fd", "directory", "_top")
        return isinstance(first, ast.Name) and any(first.id in known for known in self._descriptors)


def _assigned_descriptors(function: ast.AST) -> Iterator[str]:
    """Names that a function gives to what an opener made, or `handle` named."""
    for node in ast.walk(function):
        if isinstance(node, ast.NamedExpr):
            yield from _descriptor_names(node.target, node.value)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                yield from _descriptor_names(target, node.value)


def _descriptor_names(target: ast.expr, value: ast.expr) -> Iterator[str]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        # below, here = here, opened(…)
        for one, its in zip(target.elts, value.elts, strict=False):
            yield from _descriptor_names(one, its)
    elif isinstance(target, ast.Name):
        values = (value.body, value.orelse) if isinstance(value, ast.IfExp) else (value,)
        calls = [_dotted(v.func).rpartition(".")[2] for v in values if isinstance(v, ast.Call)]
        if any(name == "handle" or _OPENERS.fullmatch(name) for name in calls):
            yield target.id
