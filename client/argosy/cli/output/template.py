"""Go templates (text/template), as far as people script Docker with them.

Fields, pipelines, variables, if/else/range/with/end, and the functions of Docker's --format: json, join, table's
`upper lower title split println printf len index slice eq ne lt le gt ge and or not`, pad, truncate.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from argosy.cli.options import UsageError
from argosy.cli.output.template_functions import FUNCTIONS, go_text, truth

_QUOTES = "\"`'"
_LONGEST = 1 << 16
"""Characters of a template."""
_DEEPEST = 50
"""Blocks, or parentheses, one inside another."""


class TemplateError(UsageError):
    """The template is wrong, or does not fit the object."""

    def __init__(self, message: str) -> None:
        super().__init__(f"template parsing error: {message}", 1)


@dataclass(slots=True)
class _Node:
    """One piece: text, an action, or a block with its branches."""

    kind: str
    words: list[str] = field(default_factory=list)
    text: str = ""
    body: list[_Node] = field(default_factory=list)
    other: list[_Node] = field(default_factory=list)


def render(template: str, value: Any) -> str:
    """The template over a value made of dicts, lists, strings, numbers. TemplateError when it does not fit."""
    if len(template) > _LONGEST:
        raise TemplateError(f"a template has at most {_LONGEST} characters")
    nodes, _ = _parse(_pieces(template), 0, top=True)
    return _Run(value).text(nodes, value)


def _pieces(template: str) -> list[_Node]:
    pieces = []
    at, trim_start = 0, False
    while True:
        opened = template.find("{{", at)
        text = template[at : opened if opened >= 0 else len(template)]
        trim_end = opened >= 0 and template.startswith("- ", opened + 2)
        text = text.lstrip() if trim_start else text
        pieces.append(_Node("text", text=text.rstrip() if trim_end else text))
        if opened < 0:
            return pieces
        start = opened + 2 + trim_end
        end = _action_end(template, start)
        at, inner = end + 2, template[start:end]
        trim_start = inner.endswith(" -")
        if trim_start:
            inner = inner[:-2]
        if not inner.strip().startswith("/*"):
            pieces.append(_Node("action", words=_words(inner)))


def _action_end(template: str, at: int) -> int:
    """Where the closing braces stand, quotes respected."""
    quote = ""
    while at < len(template):
        char = template[at]
        if quote:
            if char == "\\" and quote == '"':
                at += 1
            elif char == quote:
                quote = ""
        elif char in _QUOTES:
            quote = char
        elif template.startswith("}}", at):
            return at
        at += 1
    raise TemplateError("an action is never closed")


def _words(inner: str) -> list[str]:
    words: list[str] = []
    at = 0
    while at < len(inner):
        char = inner[at]
        if char.isspace():
            at += 1
        elif char in "()|,":
            words.append(char)
            at += 1
            if char == ")" and inner[at : at + 1] == ".":
                words[-1] = ")."
                end = _word_end(inner, at)
                words.append(inner[at:end])
                at = end
        elif char in _QUOTES:
            end = at + 1
            while end < len(inner) and inner[end] != char:
                end += 2 if inner[end] == "\\" and char == '"' else 1
            words.append(inner[at : end + 1])
            at = end + 1
        elif inner.startswith(":=", at):
            words.append(":=")
            at += 2
        else:
            end = _word_end(inner, at)
            words.append(inner[at:end])
            at = end
    return words


def _word_end(inner: str, at: int) -> int:
    while at < len(inner) and not inner[at].isspace() and inner[at] not in "()|," and not inner.startswith(":=", at):
        at += 1
    return at


def _parse(pieces: list[_Node], at: int, top: bool = False, depth: int = 0) -> tuple[list[_Node], int]:
    """Nodes up to the `end` or `else` that closes them, and where that stands."""
    if depth > _DEEPEST:
        raise TemplateError(f"more than {_DEEPEST} blocks one inside another")
    nodes: list[_Node] = []
    while at < len(pieces):
        piece = pieces[at]
        keyword = piece.words[0] if piece.kind == "action" and piece.words else ""
        if keyword in ("end", "else"):
            if top:
                raise TemplateError(f"unexpected {{{{{keyword}}}}}")
            return nodes, at
        if keyword in ("if", "range", "with"):
            block, at = _block(pieces, at, keyword, depth)
            nodes.append(block)
        else:
            nodes.append(piece)
            at += 1
    if not top:
        raise TemplateError("a block is never ended")
    return nodes, at


def _block(pieces: list[_Node], at: int, keyword: str, depth: int) -> tuple[_Node, int]:
    first = block = _Node(keyword, words=pieces[at].words[1:])
    while True:
        block.body, at = _parse(pieces, at + 1, depth=depth + 1)
        closing = pieces[at].words
        if closing[0] == "end":
            return first, at + 1
        if closing[1:2] != ["if"]:
            break
        # A chain of else-ifs goes on; it is ended once.
        depth += 1
        chained = _Node("if", words=closing[2:])
        block.other = [chained]
        block = chained
    block.other, at = _parse(pieces, at + 1, depth=depth + 1)
    if pieces[at].words[0] != "end":
        raise TemplateError("two {{else}} in one block")
    return first, at + 1


class _Run:
    """One rendering: the root value and the variables."""

    def __init__(self, root: Any) -> None:
        self._variables: dict[str, Any] = {"$": root}

    def text(self, nodes: list[_Node], dot: Any) -> str:
        return "".join(self._node(node, dot) for node in nodes)

    def _node(self, node: _Node, dot: Any) -> str:
        if node.kind == "text":
            return node.text
        if node.kind == "range":
            return self._range(node, dot)
        if node.kind in ("if", "with"):
            value = self._pipeline(self._assigned(node.words, dot)[1], dot)
            name = self._assigned(node.words, dot)[0]
            if name:
                self._variables[name] = value
            if truth(value):
                return self.text(node.body, value if node.kind == "with" else dot)
            return self.text(node.other, dot)
        names, words = self._assigned(node.words, dot)
        value = self._pipeline(words, dot)
        if names:
            self._variables[names] = value
            return ""
        return go_text(value)

    def _assigned(self, words: list[str], dot: Any) -> tuple[str, list[str]]:
        if len(words) > 2 and words[0].startswith("$") and words[1] in (":=", "="):
            return words[0], words[2:]
        return "", words

    def _range(self, node: _Node, dot: Any) -> str:
        words = node.words
        names: list[str] = []
        if ":=" in words:
            split = words.index(":=")
            names = [w for w in words[:split] if w != ","]
            words = words[split + 1 :]
        value = self._pipeline(words, dot)
        if isinstance(value, dict):
            items: list[tuple[Any, Any]] = sorted(value.items())
        elif isinstance(value, list):
            items = list(enumerate(value))
        elif value is None:
            items = []
        else:
            raise TemplateError(f"range can't iterate over {go_text(value)}")
        if not items:
            return self.text(node.other, dot)
        out = []
        for key, item in items:
            if len(names) == 2:
                self._variables[names[0]], self._variables[names[1]] = key, item
            elif names:
                self._variables[names[0]] = item
            out.append(self.text(node.body, item))
        return "".join(out)

    def _pipeline(self, words: list[str], dot: Any, depth: int = 0) -> Any:
        if depth > _DEEPEST:
            raise TemplateError(f"more than {_DEEPEST} parentheses one inside another")
        commands: list[list[str]] = [[]]
        nested = 0
        for word in words:
            nested += (word == "(") - (word in (")", ")."))
            if word == "|" and nested == 0:
                commands.append([])
            else:
                commands[-1].append(word)
        value: Any = None
        for at, command in enumerate(commands):
            if not command:
                raise TemplateError("missing value for command")
            value = self._command(command, dot, [value] if at else [], depth)
        return value

    def _command(self, words: list[str], dot: Any, last: list[Any], depth: int) -> Any:
        name = words[0]
        if name in FUNCTIONS:
            arguments = [*self._operands(words[1:], dot, depth), *last]
            try:
                return FUNCTIONS[name](*arguments)
            except (TypeError, ValueError, KeyError, IndexError, AttributeError) as e:
                raise TemplateError(f"error calling {name}: {e}") from None
        operands = self._operands(words, dot, depth)
        if callable(operands[0]):
            # A method: {{.Label "name"}}.
            try:
                return operands[0](*operands[1:], *last)
            except (TypeError, ValueError, KeyError, IndexError, AttributeError) as e:
                raise TemplateError(f"error calling {name}: {e}") from None
        if len(operands) != 1 or last:
            raise TemplateError(f'function "{name}" not defined')
        return operands[0]

    def _operands(self, words: list[str], dot: Any, depth: int) -> list[Any]:
        values = []
        at = 0
        while at < len(words):
            if words[at] == "(":
                end, nested = at, 0
                while True:
                    if end >= len(words):
                        raise TemplateError("an unclosed left paren")
                    nested += (words[end] == "(") - (words[end] in (")", ")."))
                    if nested == 0:
                        break
                    end += 1
                value = self._pipeline(words[at + 1 : end], dot, depth + 1)
                if words[end] == ").":
                    end += 1
                    value = _path(value, words[end])
                values.append(value)
                at = end + 1
            else:
                values.append(self._operand(words[at], dot))
                at += 1
        return values

    def _operand(self, word: str, dot: Any) -> Any:
        if word == ".":
            return dot
        if word.startswith("."):
            return _path(dot, word)
        if word.startswith("$"):
            name, found, path = word.partition(".")
            if name not in self._variables:
                raise TemplateError(f'undefined variable "{name}"')
            value = self._variables[name]
            return _path(value, "." + path) if found else value
        return _literal(word)


def _literal(word: str) -> Any:
    if word[0] == "`" and word.endswith("`"):
        return word[1:-1]
    if word[0] in "\"'":
        try:
            return json.loads('"' + word[1:-1] + '"')
        except ValueError:
            raise TemplateError(f"malformed string {word}") from None
    if word in ("true", "false", "nil"):
        return {"true": True, "false": False, "nil": None}[word]
    for read in (int, float):
        try:
            return read(word)
        except ValueError:
            continue
    raise TemplateError(f'function "{word}" not defined')


def _path(value: Any, path: str) -> Any:
    for name in path[1:].split("."):
        if value is None:
            raise TemplateError(f"nil pointer evaluating {path}")
        if not isinstance(value, dict) or (name not in value and "" not in value):
            if isinstance(value, dict) and value and not all(k[:1].isupper() for k in value):
                # Go prints this for a key that a map lacks.
                return "<no value>"
            raise TemplateError(f'can\'t evaluate field {name} at "{path}"')
        value = value[name] if name in value else value[""]
    return value
