"""Run the benchmarks of speed and write what was measured into docs/speed.md.

    python benchmarks/run.py                     # all of them
    python benchmarks/run.py moderated           # one, or some

A benchmark is a module here with a function ``measure()`` that returns Markdown; the page has a place for it between
``<!-- NAME -->`` and ``<!-- end of NAME -->``. Each side of a comparison runs in its own process (sides.py).
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import re
import sys
from datetime import date
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "speed.md"
sys.path[:0] = [str(HERE.parent), str(HERE)]


def names() -> list[str]:
    """Benchmarks that have a place in the page."""
    return re.findall(r"<!-- end of (\w+) -->", PAGE.read_text(encoding="utf-8"))


def machine() -> str:
    """What it was measured on."""
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    busy = os.getloadavg()[0]
    return (
        f"Measured on {date.today()}: {model.group(1) if model else platform.machine()}, {cores} cores, {memory:.0f} GB, Python "
        f"{platform.python_version()}; load of the machine at the start {busy:.1f}."
    )


def main() -> None:
    """Run what is asked for; a section is written as soon as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(names())} (default: all)")
    for name in parser.parse_args().names or names():
        about = machine()
        made = importlib.import_module(name).measure()
        print(made)
        marks = f"<!-- {name} -->", f"<!-- end of {name} -->"
        inner = re.compile(f"(?<={re.escape(marks[0])}\n).*?(?={re.escape(marks[1])})", re.S)
        text = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(inner.sub(lambda _, made=made, about=about: f"\n{about}\n\n{made}\n", text), encoding="utf-8")


if __name__ == "__main__":
    main()
