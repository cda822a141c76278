"""Makes the Python stubs from the .proto files.

`python proto/generate.py` writes `client/argosy/v1/*_pb2*.py` and `client/argosy/cluster/v1/*_pb2*.py`
with their type stubs; the build calls the same function, so no checkout carries generated code.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def generate(root: Path = ROOT) -> None:
    """Runs protoc over every .proto file below `root`/proto. Raises RuntimeError when protoc refuses one."""
    # hatchling loads this module before it knows what the build needs, so these come late.
    from importlib.resources import files

    from grpc_tools import protoc

    proto, out = root / "proto", root / "client"
    # google.rpc protos come from googleapis-common-protos and need no stubs of ours.
    sources = sorted(str(p.relative_to(proto)) for p in proto.rglob("*.proto"))
    # An isolated build has the plugins on PATH, a development environment beside its python.
    search = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    plugins = [
        f"--plugin=protoc-gen-{name}={found}"
        for name in ("mypy", "mypy_grpc")
        if (found := shutil.which(f"protoc-gen-{name}", path=search))
    ]
    typed = [f"--mypy_out={out}", f"--mypy_grpc_out={out}"] if len(plugins) == 2 else []
    code = protoc.main(
        ["protoc", f"-I{proto}", f"-I{files('grpc_tools') / '_proto'}", *plugins]
        + [f"--python_out={out}", f"--grpc_python_out={out}", *typed, *sources]
    )
    if code != 0:
        raise RuntimeError(f"protoc refused the protos (exit code {code})")
    for package in {str(Path(s).parent) for s in sources}:
        marker = out / package / "__init__.py"
        if not marker.exists():
            marker.write_text('"""Generated stubs; made by the build, not committed."""\n')


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:
    pass
else:

    class StubsHook(BuildHookInterface[Any]):
        """Lets hatchling make the stubs before it packs or links the sources."""

        PLUGIN_NAME = "custom"

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            """Called by hatchling before each build, editable ones too."""
            generate(Path(self.root))


if __name__ == "__main__":
    generate()
