"""Print what the build, the core and the named extras of pyproject.toml need, one a line.

python3 tools/requirements.py video,export
"""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).resolve().parent.parent / "pyproject.toml").read_text())
extras = project["project"]["optional-dependencies"]
lines = [
    *project["build-system"]["requires"],
    # pip builds without isolation, so that a second build is incremental: CMake must be there.
    "cmake>=3.25",
    "ninja",
    *project["project"]["dependencies"],
    *(line for name in filter(None, sys.argv[1].split(",")) for line in extras[name]),
]
sys.stdout.write("\n".join(dict.fromkeys(lines)) + "\n")
