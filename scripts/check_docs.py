#!/usr/bin/env python3
"""Checks the pages: README.md, CHANGELOG.md, CONTRIBUTING.md and docs/*.md.

    scripts/check_docs.py [ROOT] [--gallery PROGRAM]

- A link to a file or to a heading of the project leads there.
- The C++ blocks of the pages in PAGES_WITH_CODE stand, spaces aside, in a file
  that is compiled and run as a test. (A page writes assert where a test writes
  EXPECT_TRUE. That those of all pages compile is the work of docs_code.py.)
- The rows under "How we differ from Python" in docs/lr_scheduler.md are those
  that scripts/python_differences.py runs.
- Every script that a command on a page names exists, and every picture in
  docs/pictures is shown on a page.
With the schedule_gallery program also:
- The pictures in docs/pictures are those that it draws, up to the last digit
  of a coordinate, which mathematical libraries round differently.
- Every picture and every schedule in one is shown in docs/schedules.md.

Prints one line a fault and exits with 1 if there is any.
"""

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile
from typing import Iterator, List, Set

# Pages whose code is compiled word for word, and the folders it lies in.
PAGES_WITH_CODE = (
    "README.md",
    "docs/checkpoint.md",
    "docs/curvature.md",
    "docs/data.md",
    "docs/distributed.md",
    "docs/kernels.md",
    "docs/migration.md",
    "docs/optimizers.md",
    "docs/schedules.md",
    "docs/trainer.md",
    "docs/tuning.md",
)
COMPILED = ("tests/docs", "examples")

# Coordinates have two decimals: the last may differ, and a little to spare.
TOLERANCE_PX = 0.021

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!\\)\]\(([^)\s]+)\)")
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def anchors_of(page: pathlib.Path) -> Set[str]:
    """The anchors that GitHub gives the page's headings."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    anchors = set()
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", heading.strip().lower())
        anchors.add(words.replace(" ", "-"))
    return anchors


def check_links(page: pathlib.Path) -> Iterator[str]:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists():
            yield f"{link} leads nowhere"
        elif anchor and anchor not in anchors_of(target):
            yield f"{link}: there is no such heading"


def without_spaces(code: str) -> str:
    return re.sub(r"\s+", "", code)


def check_code(root: pathlib.Path, page: pathlib.Path) -> Iterator[str]:
    compiled = [
        without_spaces(path.read_text(encoding="utf-8"))
        for folder in COMPILED
        for path in sorted((root / folder).rglob("*.cpp"))
    ]
    for language, code in FENCE.findall(page.read_text(encoding="utf-8")):
        if language != "cpp":
            continue
        # Includes stand at the top of a file, wherever the rest is.
        body = re.sub(r"^#include.*$", "", code, flags=re.MULTILINE)
        wanted = without_spaces(body).replace("assert(", "EXPECT_TRUE(")
        if not any(wanted in source for source in compiled):
            first = body.strip().splitlines()[0]
            yield f"no test has the code that begins with '{first}'"


def check_commands(root: pathlib.Path, page: pathlib.Path) -> Iterator[str]:
    for language, code in FENCE.findall(page.read_text(encoding="utf-8")):
        if language not in ("sh", "bash"):
            continue
        for script in re.findall(r"(?<![\w/.])scripts/[\w.]+", code):
            if not (root / script).is_file():
                yield f"there is no {script}"


def check_python_rows(root: pathlib.Path) -> Iterator[str]:
    """Compares the tables' first two columns with the script's rows."""
    page = root / "docs/lr_scheduler.md"
    script = root / "scripts/python_differences.py"
    listing = subprocess.run(
        [sys.executable, "-B", str(script), "--rows"],
        check=True,
        stdout=subprocess.PIPE,
    ).stdout.decode("utf-8")
    wanted = listing.splitlines()
    text = page.read_text(encoding="utf-8")
    part = text.partition("## How we differ from Python")[2]
    tables = re.findall(
        r"^\| Case \| Python \| Here \|\n\|[-|]+\n((?:\|.*\n)*)",
        part,
        re.MULTILINE,
    )
    shown = []
    for line in "".join(tables).splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        shown.append("\t".join(cells[:2]))
    for row in sorted(set(shown) - set(wanted)):
        yield f"python_differences.py does not run the row '{row}'"
    for row in sorted(set(wanted) - set(shown)):
        yield f"the row '{row}' of python_differences.py is missing"


def same_picture(old: str, new: str) -> bool:
    """Whether two SVG texts differ in nothing but the rounding of numbers."""
    if NUMBER.sub("#", old) != NUMBER.sub("#", new):
        return False
    return all(
        abs(float(a) - float(b)) <= TOLERANCE_PX
        for a, b in zip(NUMBER.findall(old), NUMBER.findall(new))
    )


def check_gallery(root: pathlib.Path, program: str) -> Iterator[str]:
    folder = root / "docs/pictures"
    page = (root / "docs/schedules.md").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as fresh_name:
        subprocess.run(
            [program, fresh_name], check=True, stdout=subprocess.DEVNULL
        )
        fresh = {p.name: p for p in pathlib.Path(fresh_name).glob("*.svg")}
        if not fresh:
            yield "the gallery has drawn nothing"
        for name, path in sorted(fresh.items()):
            kept = folder / name
            if not kept.is_file():
                yield f"docs/pictures/{name} is missing: run schedule_gallery"
            elif not same_picture(
                kept.read_text(encoding="utf-8"),
                path.read_text(encoding="utf-8"),
            ):
                yield f"docs/pictures/{name} is old: run schedule_gallery"
            if f"(pictures/{name})" not in page:
                yield f"docs/schedules.md does not show {name}"
    listing = subprocess.run(
        [program, "--list"], check=True, stdout=subprocess.PIPE
    ).stdout.decode("utf-8")
    blocks = [
        line
        for language, block in FENCE.findall(page)
        if language == "schedule"
        for line in block.splitlines()
    ]
    for line in listing.splitlines():
        picture, text = line.split("\t")
        if f"`{text}`" not in page and text not in blocks:
            yield f"docs/schedules.md does not have '{text}' ({picture})"


def check_shown(
    root: pathlib.Path, pages: List[pathlib.Path]
) -> Iterator[str]:
    texts = [page.read_text(encoding="utf-8") for page in pages]
    for picture in sorted((root / "docs/pictures").glob("*")):
        if not any(f"pictures/{picture.name})" in text for text in texts):
            yield f"docs/pictures/{picture.name}: no page shows it"


def check(root: pathlib.Path, gallery: str) -> List[str]:
    faults = []
    pages = [
        page
        for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs")
        for page in (
            sorted((root / name).glob("*.md"))
            if name == "docs"
            else [root / name]
        )
        if page.is_file()
    ]
    for page in pages:
        name = page.relative_to(root).as_posix()
        faults += [f"{name}: {fault}" for fault in check_links(page)]
        faults += [f"{name}: {fault}" for fault in check_commands(root, page)]
        if name in PAGES_WITH_CODE:
            faults += [f"{name}: {fault}" for fault in check_code(root, page)]
        if name == "docs/lr_scheduler.md":
            faults += [f"{name}: {fault}" for fault in check_python_rows(root)]
    faults += list(check_shown(root, pages))
    if gallery:
        faults += list(check_gallery(root, gallery))
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description="Checks the pages.")
    default = pathlib.Path(__file__).resolve().parent.parent
    parser.add_argument("root", nargs="?", type=pathlib.Path, default=default)
    parser.add_argument("--gallery", help="the schedule_gallery program")
    arguments = parser.parse_args()
    faults = check(arguments.root.resolve(), arguments.gallery)
    for fault in faults:
        print(fault)
    if faults:
        print(f"check_docs: {len(faults)} fault(s)")
        return 1
    print("check_docs: links, code and pictures are as they should be")
    return 0


if __name__ == "__main__":
    sys.exit(main())
