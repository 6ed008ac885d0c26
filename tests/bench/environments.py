"""The environments of the peers and of the load generator: made on first use, by pip, from exact versions."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
ENVIRONMENTS = ROOT / ".venv-bench"


@dataclass(frozen=True, slots=True)
class Environment:
    """One virtual environment."""

    name: str
    python: str
    packages: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return ENVIRONMENTS / self.name

    def program(self, name: str) -> str:
        return str(self.folder / "bin" / name)

    def install(self) -> str | None:
        """Makes it unless it is there; a reason when it cannot be made on this machine."""
        stamp = self.folder / ".installed"
        wanted = " ".join(self.packages)
        if stamp.exists() and stamp.read_text() == wanted:
            return None
        python = _interpreter(self.python)
        if python is None:
            return f"Python {self.python} was not found"
        sys.stderr.write(f"installing {self.name}: {wanted}\n")
        subprocess.run([python, "-m", "venv", "--clear", str(self.folder)], check=True)
        pip = [self.program("python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run([*pip, *self.packages], check=False, capture_output=True, text=True)
        if done.returncode:
            return f"pip cannot install it: {done.stderr.strip().splitlines()[-1]}"
        stamp.write_text(wanted)
        return None


def _interpreter(version: str) -> str | None:
    """A program that is this very version of Python, if there is one."""
    wanted = tuple(int(part) for part in version.split("."))
    pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    for candidate in [f"python{version}", *map(str, pyenv), sys.executable]:
        found = shutil.which(candidate)
        test = f"import sys; sys.exit(sys.version_info[:2] != {wanted})"
        if found and subprocess.run([found, "-c", test], check=False, capture_output=True).returncode == 0:
            return found
    return None


def environments() -> dict[str, Environment]:
    """By name, from peers.txt."""
    lines = (HERE / "peers.txt").read_text().splitlines()
    parts = [line.split() for line in lines if line and not line.startswith("#")]
    return {name: Environment(name, python, tuple(packages)) for name, python, *packages in parts}
