#!/usr/bin/env python3
"""Runs a program of the lab in a folder of its own and reads its pictures.

    run_program.py PROGRAM PICTURE

Exits with what PROGRAM exits with; with 1 if that is 0 and PICTURE.svg is
missing, or a picture is no well-formed SVG or shows no curve.
"""

import pathlib
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

SVG = "{http://www.w3.org/2000/svg}"


def fault_of(picture: pathlib.Path) -> str:
    """What is wrong with the picture, or nothing."""
    try:
        root = ElementTree.parse(picture).getroot()
    except (ElementTree.ParseError, OSError) as error:
        return str(error)
    if root.tag != SVG + "svg":
        return f"its root is {root.tag}"
    if not any(True for _ in root.iter(SVG + "path")) and not any(
        True for _ in root.iter(SVG + "polyline")
    ):
        return "it shows no curve"
    return ""


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    program, name = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        # A folder that is not there yet: the program makes it.
        pictures = pathlib.Path(folder) / "pictures"
        status = subprocess.run([program, str(pictures)]).returncode
        if status != 0:
            return status
        faults = 0
        for picture in {pictures / f"{name}.svg", *pictures.glob("*")}:
            fault = fault_of(picture)
            if fault:
                print(f"{picture.name}: {fault}")
                faults += 1
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
