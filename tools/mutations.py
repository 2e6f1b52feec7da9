"""What can be changed in a line of Python: one operator, number, condition, result or statement."""

from __future__ import annotations

import ast
from dataclasses import dataclass

SWAPPED: dict[type[ast.AST], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.And: ("and", "or"),
    ast.Or: ("or", "and"),
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "//"),
    ast.FloorDiv: ("//", "*"),
    ast.Div: ("/", "*"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
}


@dataclass(frozen=True)
class Mutant:
    """One change: the bytes from `begin` to `end` of a file become `text`."""

    file: str
    line: int
    begin: int
    end: int
    text: str

    def applied(self, data: bytes) -> bytes:
        """The file's bytes after the change."""
        return data[: self.begin] + self.text.encode() + data[self.end :]

    def lines(self, data: bytes) -> tuple[str, str]:
        """The line before and after; what was removed over several lines is cut short."""
        after = self.applied(data)
        start = data.rfind(b"\n", 0, self.begin) + 1
        one, other = (text[start:].split(b"\n", 1)[0].strip().decode() for text in (data, after))
        return one, other


class Walk(ast.NodeVisitor):
    """Collects what can be changed in one file; not annotations, decorators or messages."""

    def __init__(self, file: str, data: bytes) -> None:
        self.file, self.data = file, data
        self.starts = [0]
        for line in data.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.found: list[Mutant] = []

    def _at(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return (
            self.starts[node.lineno - 1] + node.col_offset,
            self.starts[node.end_lineno - 1] + node.end_col_offset,
        )

    def _change(self, begin: int, end: int, text: str) -> None:
        line = self.data.count(b"\n", 0, begin) + 1
        self.found.append(Mutant(self.file, line, begin, end, text))

    def _swap(self, left: ast.expr, operator: ast.AST, right: ast.expr) -> None:
        """Another operator between two operands."""
        before, after = SWAPPED.get(type(operator), ("", ""))
        begin, end = self._at(left)[1], self._at(right)[0]
        at = self.data[begin:end].find(before.encode()) if before else -1
        if at >= 0:
            self._change(begin + at, begin + at + len(before), after)

    def visit(self, node: ast.AST) -> None:
        if not isinstance(node, ast.JoinedStr):  # no messages; and their places are not told
            super().visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for part in (*node.args.defaults, *node.args.kw_defaults, *node.body):
            if part is not None:
                self.visit(part)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for part in node.body:
            self.visit(part)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_Compare(self, node: ast.Compare) -> None:
        terms = [node.left, *node.comparators]
        for left, operator, right in zip(terms, node.ops, terms[1:], strict=False):
            self._swap(left, operator, right)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        for left, right in zip(node.values, node.values[1:], strict=False):
            self._swap(left, node.op, right)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        self._swap(node.left, node.op, node.right)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            self._change(self._at(node)[0], self._at(node.operand)[0], "")
        if ast.unparse(node) != "-1":  # "the last", or "as many as there are"
            self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) != "TYPE_CHECKING":
            for text in ("True", "False"):
                self._change(*self._at(node.test), text)
            self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self._change(*self._at(node), str(not value))
        elif isinstance(value, int):
            self._change(*self._at(node), str(value + 1))
        elif isinstance(value, float):
            self._change(*self._at(node), repr(10 * value or 1.0))

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None and ast.unparse(node.value) != "None":
            self._change(*self._at(node.value), "None")
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            self._change(*self._at(node), "pass")
            self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        self._change(*self._at(node), "pass")


def changes(file: str, data: bytes) -> list[Mutant]:
    """All changes of one file, by its place from the root and its bytes."""
    walk = Walk(file, data)
    walk.visit(ast.parse(data))
    return walk.found
