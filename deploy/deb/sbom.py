"""Says what an installation is made of: `python deploy/deb/sbom.py FILE VERSION`, in CycloneDX's JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Writes the file."""
    to, version = sys.argv[1:]
    command = ["cyclonedx-py", "requirements", str(ROOT / "deploy/requirements.lock"), "--output-reproducible",
               "--pyproject", str(ROOT / "pyproject.toml"), "--mc-type", "application"]  # fmt: skip
    done = subprocess.run([sys.executable, "-m", "cyclonedx_py", *command[1:]], check=True, stdout=subprocess.PIPE)
    document = json.loads(done.stdout)
    # The file of the project leaves that to git.
    document["metadata"]["component"]["version"] = version
    Path(to).write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
