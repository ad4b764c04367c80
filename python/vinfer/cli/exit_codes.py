"""What the command line ends with, by kind of failure."""

from __future__ import annotations

OK = 0
UNEXPECTED = 1
USAGE = 2
INPUT = 3
BUNDLE = 4
OUTPUT = 5
MISSING = 6
TRAINING = 7
INTERRUPTED = 130
TERMINATED = 143

MEANING = {
    OK: "done",
    UNEXPECTED: "unexpected error: please report it",
    USAGE: "usage or configuration",
    INPUT: "the source can't be read, or broke off",
    BUNDLE: "a bundle or its model can't be used",
    OUTPUT: "a result can't be written",
    MISSING: "a package or an execution provider is missing",
    TRAINING: "training can't start, or diverged",
    INTERRUPTED: "interrupted by Ctrl-C; files are finished and valid",
    TERMINATED: "ended by SIGTERM; files are finished and valid",
}
