"""The port, the data folder and addresses in messages."""

import socket
from pathlib import Path

import pytest
from threadmill_cli.data_folder import hold_data_folder
from threadmill_cli.preflight import check_port, free_port, place_of
from threadmill_cli.refusal import CannotRun


def test_port_in_use_names_port_and_remedy() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CannotRun, match=f"port {port} on 127.0.0.1 is in use: .* --port"):
            check_port("127.0.0.1", port)
    check_port("127.0.0.1", free_port())


def test_foreign_address() -> None:
    with pytest.raises(CannotRun, match="not an address of this machine"):
        check_port("192.0.2.1", 8123)


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("postgresql://u:secret@db.example:5433/app?sslmode=require", "db.example:5433/app"),
        ("redis://:secret@cache/0", "cache/0"),
        ("unix:///run/redis.sock", "/run/redis.sock"),
        ("redis://:secret@cache:port", "the given address"),
    ],
)
def test_messages_hide_passwords(uri: str, place: str) -> None:
    assert place_of(uri) == place


def test_one_instance_per_data_folder(tmp_path: Path) -> None:
    with hold_data_folder(tmp_path / "data") as held:
        assert held.path.is_dir()
        assert held.socket("threads").parent.is_dir()
        with (
            pytest.raises(CannotRun, match=r"in use by another threadmill dev \(process \d+\)"),
            hold_data_folder(held.path),
        ):
            pass
    assert not held.runtime.exists()
    with hold_data_folder(tmp_path / "data"):
        pass


def test_leftover_sockets_of_a_killed_instance_are_removed(tmp_path: Path) -> None:
    leftover = tmp_path / "threadmill-old"
    leftover.mkdir()
    data = tmp_path / "data"
    data.mkdir()
    (data / "lock").write_text(f"1\n{leftover}\n")
    with hold_data_folder(data):
        assert not leftover.exists()


def test_socket_paths_are_short_enough_under_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with hold_data_folder(deep / "data") as held:
        assert len(str(held.runtime / "postgres" / ".s.PGSQL.5432.lock")) < 107
        assert len(str(held.socket("executor-10"))) < 107
