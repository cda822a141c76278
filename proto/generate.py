"""Makes the Python stubs from the .proto files.

`python proto/generate.py` writes `client/argosy/v1/*_pb2*.py` and `client/argosy/cluster/v1/*_pb2*.py`
with their type stubs; the build calls the same function, so no checkout carries generated code.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def _module(proto: str) -> str:
    return proto.removesuffix(".proto").replace("/", ".") + "_pb2"


def generate(root: Path = ROOT) -> None:
    """Runs protoc over every .proto file below `root`/proto. Raises RuntimeError when protoc refuses one."""
    # hatchling loads this module before it knows what the build needs, so these come late.
    from importlib import import_module
    from importlib.resources import files

    from google.protobuf.descriptor_pb2 import FileDescriptorSet
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
    with tempfile.NamedTemporaryFile() as described:
        code = protoc.main(
            ["protoc", f"-I{proto}", f"-I{files('grpc_tools') / '_proto'}", *plugins]
            + [f"--descriptor_set_out={described.name}", f"--grpc_python_out={out}", *typed, *sources]
        )
        if code != 0:
            raise RuntimeError(f"protoc refused the protos (exit code {code})")
        described_files = FileDescriptorSet.FromString(described.read())
    for file in described_files.file:
        imports = [i for i in file.dependency if not i.startswith("google/protobuf/")]
        known = {
            # As the installed protobuf has it: one pool refuses two versions of one file.
            name: import_module(_module(name)).DESCRIPTOR.serialized_pb
            for name in file.dependency
            if name not in imports
        }
        lines = [f"# Generated from {file.name}. Not edited, not committed.", "from argosy import _proto"]
        lines += [f"import {_module(name)}" for name in imports]
        lines += [f"_KNOWN = {known!r}", f"_FILE = {file.SerializeToString()!r}"]
        lines += ["DESCRIPTOR, __getattr__, __dir__ = _proto.load(__name__, _FILE, _KNOWN)", ""]
        (out / f"{file.name.removesuffix('.proto')}_pb2.py").write_text("\n".join(lines))
    packages = {p for s in sources for p in Path(s).parents if len(p.parts) > 1}
    for package in sorted(packages):
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
