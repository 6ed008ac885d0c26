"""Generates threadmill_protos, the one package of stubs, from the .proto files beside this script.

protoc's Python output imports by proto path (`threadmill.runs.v1`); the package that we ship is called
`threadmill_protos`, so that no import name can collide with a user's, and the imports are rewritten to it.
"""

import re
import shutil
import sys
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).parent
PACKAGE = ROOT / "threadmill_protos"
IMPORT = re.compile(r"\bthreadmill\.(?=(?:common|threads|store|runs)\.v1)")


def generate(target: Path) -> None:
    """Writes the stubs of every .proto file under `target`, replacing what was there."""
    if target.exists():
        shutil.rmtree(target)
    build = target.parent / "threadmill"
    protos = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("threadmill/**/*.proto"))
    outputs = [f"--{plugin}_out={target.parent}" for plugin in ("python", "grpc_python", "mypy", "mypy_grpc")]
    code = protoc.main(["protoc", f"-I{ROOT}", f"-I{Path(protoc.__file__).parent / '_proto'}", *outputs, *protos])
    if code:
        sys.exit(code)
    for path in sorted(build.rglob("*.py*")):
        destination = target / path.relative_to(build)
        destination.parent.mkdir(parents=True, exist_ok=True)
        destination.write_text(_rewrite_imports(path.read_text()))
        path.unlink()
    for folder in [target, *(path for path in target.rglob("*") if path.is_dir())]:
        (folder / "__init__.py").touch()
    (target / "__init__.py").write_text('"""Generated gRPC stubs of Threadmill. Do not edit: `make generate`."""\n')
    (target / "py.typed").touch()


def _rewrite_imports(source: str) -> str:
    # Only imports: service and descriptor names keep the proto package, they go over the wire.
    return "".join(
        IMPORT.sub("threadmill_protos.", line) if line.startswith(("from ", "import ")) else line
        for line in source.splitlines(keepends=True)
    )


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else PACKAGE)
