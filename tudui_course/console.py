"""The terminal: what its encoding can't show, or what would steer it, is written otherwise."""

import sys


def show_anything() -> None:
    """Let stdout and stderr write \\u4e2d where their encoding (GBK, cp1252, ASCII) lacks a letter, and never raise.

    It is what Python does on stderr from the start. A notebook's streams, which can show everything, have no such
    setting and stay as they are. This module imports nothing of the course, so that `tudui --help` answers at once.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def harmless(text: object) -> str:
    """A message as it can be printed: a file's own words in it may hold what steers a terminal."""
    return "".join(sign if sign.isprintable() or sign == "\n" else "?" for sign in str(text))
