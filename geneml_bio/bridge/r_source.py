"""An R object, live or in a file -> plain data. A live object takes the way of a file, so that both give the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..core.errors import GenemlError, InputError, RNotAvailableError, TableError, near
from . import r, rds
from .r_budget import bounded
from .r_values import RValue

_NOT_AS_IT_SHOULD_BE = (
    AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError,
)  # fmt: skip

Accept = tuple[Callable[[RValue], bool], ...]

_TRUST = (
    " If you know who made the file, trusted=True gives it to R (rpy2 needed). Not done unasked: before version 4.4, R can be "
    "made to run code by such a file (CVE-2024-27322)."
)


def convert(
    source: Any, sheet: str | None, trusted: bool, accept: Accept, work: Callable[[RValue, dict[str, Any]], Any]
) -> Any:
    """What ``work`` makes of the object in a source; it gets the object as plain data, and where it came from.

    Of a workspace the only object that the first test of ``accept`` lets pass is taken, else that of the next.
    """
    with bounded(anew=True):
        return _converted(source, sheet, trusted, accept, work)


def _converted(
    source: Any, sheet: str | None, trusted: bool, accept: Accept, work: Callable[[RValue, dict[str, Any]], Any]
) -> Any:
    if r.is_r_object(source):
        value = rds.parse(r.call("serialised", source), "the R object").objects[""]
        return _guarded(work, value, {"type": r.r_class(source)[0]})
    path = Path(source)
    try:
        held = rds.read(path)
    except rds.OnlyR as error:
        if not trusted:
            raise rds.OnlyR(f"{error}{_TRUST}") from error
        return _guarded(work, *_chosen(_through_r(path), path, sheet, accept))
    value, about = _chosen(held, path, sheet, accept)
    if trusted and held.promises and _waits(value):
        return _guarded(work, *_chosen(_through_r(path), path, sheet, accept))
    try:
        return _guarded(work, value, about)
    except GenemlError as error:
        if not held.promises or not (value.type == "promise" or any(_passes(test, value) for test in accept)):
            raise
        if not trusted:
            raise type(error)(
                f"{error} It holds {held.promises} values that R computes when they are asked for.{_TRUST}"
            ) from error
    return _guarded(work, *_chosen(_through_r(path), path, sheet, accept))


def _waits(value: RValue) -> bool:
    """Whether a promise is among the elements of a list, or of the lists in it or in its slots."""
    todo = [value]
    while todo:
        item = todo.pop()
        if item.type == "promise":
            return True
        todo += item.attributes.values()
        todo += item.value if item.type == "list" else []
    return False


def _passes(test: Callable[[RValue], bool], value: RValue) -> bool:
    """An object that is not made as its class says is none that is looked for."""
    try:
        return test(value)
    except _NOT_AS_IT_SHOULD_BE:
        return False


def _guarded(work: Callable[[RValue, dict[str, Any]], Any], value: RValue, about: dict[str, Any]) -> Any:
    """An object that is not made as its class says becomes one kind of error."""
    try:
        return work(value, about)
    except GenemlError:
        raise
    except MemoryError as error:
        raise TableError("This R object does not fit into memory; save only the table or the matrix.") from error
    except _NOT_AS_IT_SHOULD_BE as error:
        raise TableError(
            f"This object of class {'/'.join(value.classes)} is not made as that class should be ({error}). Was it changed by "
            "hand, or made by a very old version of its package? In R, updateObject(x) renews it; or save the table alone: "
            "write.csv(as.data.frame(x), 'table.csv')."
        ) from error


def _chosen(held: rds.RFile, path: Path, sheet: str | None, accept: Accept) -> tuple[RValue, dict[str, Any]]:
    """The object meant of those that a file holds."""
    about = {"path": str(path), "r_version": held.r_version, **held.about}
    if not held.is_workspace:
        return held.objects[""], about
    if sheet is not None:
        if sheet not in held.objects:
            raise InputError(f"{path.name} holds no object {sheet!r}.{near(sheet, held.objects)}")
        return held.objects[sheet], about | {"sheet": sheet}
    fit: dict[str, RValue] = {}
    for test in accept:
        fit = fit or {name: value for name, value in held.objects.items() if _passes(test, value)}
    if len(fit) == 1:
        name, value = next(iter(fit.items()))
        return value, about | {"sheet": name}
    listed = ", ".join(
        f"{name} ({'/'.join(value.classes)})" for name, value in list((fit or held.objects).items())[:12]
    )
    if not held.objects:
        raise TableError(f"{path.name} is an empty workspace.")
    if not fit and len(held.objects) == 1:
        return next(iter(held.objects.values())), about
    found = "several objects that could be read" if fit else "no object that can be read"
    raise TableError(f"{path.name} holds {found}: {listed}.{' Choose one: sheet=...' if fit else ''}")


def _through_r(path: Path) -> rds.RFile:
    """The file read by R, into a place of its own."""
    workspace = rds.is_workspace(path)
    try:
        inner = rds.parse(r.call("file_serialised", str(path), workspace), path.name)
    except RNotAvailableError as error:
        raise TableError(f"{path.name} can only be read by R, and R does not work here: {error}") from error
    root, about = inner.objects[""], inner.about | {"read_by": "R"}
    objects = dict(zip(root.names or [], root.value, strict=True)) if workspace else {"": root}
    return rds.RFile(objects, workspace, inner.r_version, about)
