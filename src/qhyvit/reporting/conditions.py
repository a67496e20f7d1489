"""Conditions on named numbers: comparisons, arithmetic, `and`, `or` and `not`. They are read as syntax and never run as code."""

import ast
import operator
from collections.abc import Callable, Mapping
from itertools import pairwise

LONGEST = 200  # characters: short enough for recursion over its syntax
COMPARISONS: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def is_true(condition: str, values: Mapping[str, float]) -> bool:
    """Tell if a condition on the named ``values`` is true. Raises ValueError for anything but a comparison of numbers and names."""
    if len(condition) > LONGEST:
        raise ValueError(f"longer than {LONGEST} characters")
    try:
        return _truth(ast.parse(condition.strip(), mode="eval").body, values)
    except SyntaxError as error:
        raise ValueError(f"no comparison ({error.msg})") from error
    except ArithmeticError as error:
        raise ValueError(f"no number ({error})") from error


def _truth(node: ast.expr, values: Mapping[str, float]) -> bool:
    match node:
        case ast.BoolOp(op=op, values=parts):
            truths = [_truth(part, values) for part in parts]  # a list, so that faults of every part are found
            return all(truths) if isinstance(op, ast.And) else any(truths)
        case ast.UnaryOp(op=ast.Not(), operand=part):
            return not _truth(part, values)
        case ast.Compare(left=first, ops=ops, comparators=others) if COMPARISONS.keys() >= {type(op) for op in ops}:
            numbers = [_number(part, values) for part in (first, *others)]
            return all(COMPARISONS[type(op)](*pair) for op, pair in zip(ops, pairwise(numbers), strict=True))
    raise ValueError(f"{ast.unparse(node)!r} is no comparison")


def _number(node: ast.expr, values: Mapping[str, float]) -> float:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return float(number)
        case ast.Name(id=name):
            if name not in values:
                raise ValueError(f"{name!r} is none of the values {', '.join(values)}")
            return values[name]
        case ast.UnaryOp(op=ast.USub(), operand=part):
            return -_number(part, values)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
            return ARITHMETIC[type(op)](_number(left, values), _number(right, values))
    raise ValueError(f"{ast.unparse(node)!r} is neither a number, a name nor arithmetic")
