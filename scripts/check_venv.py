#!/usr/bin/env python3
"""Prints the pinned requirements (NAME==VERSION) of a list that the running Python does not have whole, one a line.

Whole means: this version is installed, its RECORD is there (pip writes it last), and every file it names has the size
that it names. Run it with .venv's python; argument: the requirements file.
"""
import csv
import importlib.metadata
import os
import sys


def whole(name, version):
    try:
        dist = importlib.metadata.distribution(name)
        if dist.version != version:
            return False
        record = dist.read_text("RECORD")
    except importlib.metadata.PackageNotFoundError:
        return False
    if not record:
        return False
    for path, _, size in csv.reader(record.splitlines()):
        try:
            if size and os.stat(dist.locate_file(path)).st_size != int(size):
                return False
        except OSError:
            return False
    return True


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        lines = [line.split("#")[0].strip() for line in f]
    for line in filter(None, lines):
        name, _, version = line.partition("==")
        if not version:
            sys.exit(f"error: {sys.argv[1]}: '{line}' is not pinned (NAME==VERSION)")
        if not whole(name, version):
            print(line)


if __name__ == "__main__":
    main()
