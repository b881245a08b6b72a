"""Indexes an app as a worker of Azure Functions does, where packages of the server are missing."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

# Imports an app as a worker does and prints what it declares. What may not be there, is not.
INDEX = """
import inspect, json, os, sys

os.chdir(sys.argv[1])
sys.path.insert(0, sys.argv[1])
absent = sys.argv[2].split(",")

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if any(name == other or name.startswith(other + ".") for other in absent):
            raise ImportError(name + " is not there")

sys.meta_path.insert(0, Refuse())
import function_app

print(json.dumps({
    function.get_function_name(): {
        "bindings": [json.loads(raw) for raw in function.get_raw_bindings()],
        "parameters": list(inspect.signature(function.get_user_function()).parameters),
        "isAsync": inspect.iscoroutinefunction(function.get_user_function()),
    }
    for function in function_app.app.get_functions()
}))
"""
OURS = "hubbub.functions,hubbub.service,hubbub.cli"
SERVER = "starlette,uvicorn,uvloop,websockets,httptools,click,segno,watchfiles,pydantic"


def index(app: Path, absent: str) -> dict[str, Any]:
    """What the functions of an app are where some packages are not installed."""
    done = subprocess.run(
        [sys.executable, "-c", INDEX, str(app), absent],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
