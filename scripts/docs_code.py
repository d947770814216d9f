#!/usr/bin/env python3
"""Makes one C++ file of every C++ block of the pages, to be compiled.

    scripts/docs_code.py ROOT OUTPUT [PROGRAM.cpp ...]

The pages are README.md, CHANGELOG.md, CONTRIBUTING.md and docs/*.md. A block
(```cpp) compiles by itself after the preamble that docs/README.md states: the
headers, and `using namespace stepsize;` where the page has the sentence "The
code on this page stands after `using namespace stepsize;`.". A line

    <!-- fragment -->          or          <!-- fragment: Name -->

right before a block says that it is a part of a program: it stands in a member
function of PageFrame (LrSchedulerFrame for docs/lr_scheduler.md; LoopFrame for
a page that has none) or of NameFrame, of tests/docs/frames.h, whose members are
what it takes for granted. No block sees the names of another one. A line

    <!-- program: name -->

says that it is a whole program, which is not put into OUTPUT but is written to
the file of those given that is called name.cpp, to be compiled and run.

Prints one line a fault, writes nothing and exits with 1 if there is any.
"""

import pathlib
import re
import sys
from typing import Dict, Iterator, List, NamedTuple, Set

USING = "The code on this page stands after `using namespace stepsize;`."
FRAMES = "tests/docs/frames.h"

FENCE = re.compile(r"^(\s*)(```+|~~~+)\s*([^\s`]*)")
FRAGMENT = re.compile(r"^<!-- fragment(?:: (\w+))? -->$")
PROGRAM = re.compile(r"^<!-- program: (\w+) -->$")
DEFINITION = re.compile(
    r"(void|class|struct|enum|template|namespace|int main)\b|TORCH_MODULE"
)
PREAMBLE = """\
// Made by scripts/docs_code.py.
#include <stepsize/stepsize.h>
#include <torch/torch.h>

#include <cassert>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>
"""


class Block(NamedTuple):
    page: str
    line: int  # of the fence
    frame: str  # empty where the block compiles by itself
    code: List[str]
    program: str = ""  # the name of one that is a program


def pages_of(root: pathlib.Path) -> List[pathlib.Path]:
    tops = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")
    pages = [root / name for name in tops if (root / name).is_file()]
    return pages + sorted((root / "docs").glob("*.md"))


def frames_of(root: pathlib.Path) -> Set[str]:
    text = (root / FRAMES).read_text(encoding="utf-8")
    return set(re.findall(r"^struct (\w+)Frame\b", text, re.MULTILINE))


def frame_of(page: pathlib.Path, named: str, frames: Set[str]) -> str:
    if named:
        return named
    words = re.split(r"[_-]", page.stem.lower())
    own = "".join(word.capitalize() for word in words)
    return own if own in frames else "Loop"


def blocks_of(
    root: pathlib.Path, page: pathlib.Path, faults: List[str]
) -> Iterator[Block]:
    name = page.relative_to(root).as_posix()
    lines = page.read_text(encoding="utf-8").splitlines()
    frames = frames_of(root)
    at = 0
    while at < len(lines):
        fence = FENCE.match(lines[at])
        marker = FRAGMENT.match(lines[at]) or PROGRAM.match(lines[at])
        at += 1
        if marker:
            if at == len(lines) or not lines[at].startswith("```cpp"):
                faults.append(
                    f"{name}:{at}: the mark of a fragment or a program wants a "
                    "block of ```cpp in the next line"
                )
            continue
        if not fence:
            continue
        start = at
        while at < len(lines) and lines[at].strip() != fence.group(2):
            at += 1
        language = fence.group(3).lower()
        if at == len(lines):
            faults.append(f"{name}:{start}: the block has no end")
        at += 1
        if language not in ("cpp", "c++", "cc", "cxx", "c"):
            continue
        if lines[start - 1] != "```cpp":
            faults.append(
                f"{name}:{start}: a block of C++ begins with ```cpp at the "
                f"start of the line, not with '{lines[start - 1]}'"
            )
            continue
        mark = FRAGMENT.match(lines[start - 2]) if start > 1 else None
        frame = frame_of(page, mark.group(1) or "", frames) if mark else ""
        if frame and frame not in frames:
            faults.append(f"{name}:{start}: {FRAMES} has no {frame}Frame")
        own = PROGRAM.match(lines[start - 2]) if start > 1 else None
        program = own.group(1) if own else ""
        yield Block(name, start, frame, lines[start : at - 1], program)


def is_definition(code: List[str]) -> bool:
    """Whether the block's first line of code defines a function or a class."""
    for line in code:
        if line.strip() and not re.match(r"\s*(//|#include|using )", line):
            return DEFINITION.match(line) is not None
    return False


def text_of(number: int, block: Block, using: bool) -> str:
    space = f"{'fragments' if block.frame else 'whole'}::block_{number}"
    # Includes stand at the top of the file.
    body = [
        "" if line.startswith("#include") else line for line in block.code
    ]
    lines = [f'#line {block.line + 1} "{block.page}"'] + body
    usings = ["using namespace stepsize;"] if using else []
    if is_definition(block.code):
        lines = usings + lines
    else:
        base = f" : {block.frame}Frame" if block.frame else ""
        lines = (
            [f"struct Block{base} {{", "void run() {"] + usings + lines
            + ["}", "};"]
        )
    return "\n".join(
        [f"namespace {space} {{"] + lines + [f"}}  // namespace {space}", ""]
    )


def make(root: pathlib.Path, faults: List[str]) -> str:
    includes: List[str] = []
    texts: List[str] = []
    for page in pages_of(root):
        page_text = re.sub(r"\s+", " ", page.read_text(encoding="utf-8"))
        using = USING in page_text
        for block in blocks_of(root, page, faults):
            if block.program:
                continue
            includes += [
                line
                for line in block.code
                if line.startswith("#include") and line not in includes
            ]
            texts.append(text_of(len(texts), block, using))
    head = PREAMBLE + "\n".join(includes) + f'\n\n#include "{FRAMES}"\n\n'
    return head + "\n".join(texts)


def programs(root: pathlib.Path, faults: List[str]) -> Dict[str, str]:
    found: Dict[str, str] = {}
    for page in pages_of(root):
        for block in blocks_of(root, page, []):
            if not block.program:
                continue
            if block.program in found:
                faults.append(
                    f"{block.page}:{block.line}: there is a program "
                    f"{block.program} already"
                )
            lines = [f'#line {block.line + 1} "{block.page}"'] + block.code
            found[block.program] = "\n".join(lines) + "\n"
    return found


def main(arguments: List[str]) -> int:
    if len(arguments) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    faults: List[str] = []
    root = pathlib.Path(arguments[1]).resolve()
    text = make(root, faults)
    found = programs(root, faults)
    files = {pathlib.Path(file).stem: file for file in arguments[3:]}
    for name in sorted(set(found) ^ set(files)):
        faults.append(
            f"the program {name} is "
            + ("on no page" if name in files else "new: run cmake again")
        )
    for fault in faults:
        print(fault, file=sys.stderr)
    if faults:
        return 1
    pathlib.Path(arguments[2]).write_text(text, encoding="utf-8")
    for name, file in files.items():
        pathlib.Path(file).write_text(found[name], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
