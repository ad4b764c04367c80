"""Run a command and show its output only when it fails: quietly.py COMMAND ARGUMENT..."""

import subprocess
import sys

done = subprocess.run(
    sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
)
if done.returncode:
    sys.stderr.write(done.stdout)
sys.exit(done.returncode)
