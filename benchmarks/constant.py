"""A constant upstream for where nginx is missing: `python -m benchmarks.constant PORT FILE`, actions and documents."""

import sys
from pathlib import Path

import orjson

from benchmarks.http_server import run

if __name__ == "__main__":
    _answers = {action: text.encode() for action, text in orjson.loads(Path(sys.argv[2]).read_bytes()).items()}
    run(int(sys.argv[1]), lambda action, _: _answers.get(action, b"{}"))
