"""Snapshots: what a folder of sources was, without secrets and what is no source."""

import errno
import os
import stat
import subprocess
import zipfile
from pathlib import Path

import pytest

from mlog.errors import MlogError, MlogWarning, UnsafePathError
from mlog.folder import PRIVATE, Folder
from mlog.run.snapshot import (
    Limits,
    copy_snapshot,
    make_snapshot,
    open_snapshot,
    source_files,
)

KEPT = {"train.py", "src/model.py", "src/deep/er.py", "conf.yaml", "README"}


@pytest.fixture
def run(tmp_path: Path) -> Folder:
    return Folder.open_below(tmp_path / "root", ["e", "r"], PRIVATE)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with a few sources."""
    return plant(tmp_path / "source", KEPT)


def plant(folder: Path, names: set[str] | list[str]) -> Path:
    """Make files whose content is their name."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def names_of(source: Path) -> set[str]:
    return {file.name for file in source_files(source)}


def packed(run: Folder) -> dict[str, bytes]:
    with zipfile.ZipFile(run.path / "snapshot.zip") as file:
        assert file.testzip() is None
        return {info.filename: file.read(info) for info in file.infolist()}


class TestChoice:
    """What belongs to a snapshot."""

    def test_secrets_are_left_out_always(self, source: Path) -> None:
        """Also where an ignore file takes them back, and however they are written."""
        secrets = [
            *(".env", ".env.local", "src/.envrc", "tls.pem", "src/deep/site.KEY"),
            *("id_rsa", "id_rsa.pub", "id_ed25519", "keys/ID_ECDSA", ".netrc"),
            *(".pypirc", ".npmrc", ".pgpass", "credentials.json", "credentials"),
            *("client_secret_1.apps.json", "service-account.json", "kaggle.json"),
            *("service_account_x.json", "secrets.toml", "x.p12", "x.pfx", "x.kdbx"),
            *(".aws/config", ".ssh/known_hosts", ".git-credentials", "Secrets.yaml"),
            *(".docker/config.json", ".azure/x", ".kube/config", ".gnupg/x"),
        ]
        plant(source, secrets)
        assert names_of(source) == KEPT
        (source / ".amlignore").write_text("!*\n!.env\n!**\n")
        assert names_of(source) == KEPT | {".amlignore"}

    def test_what_is_no_source_is_left_out_always(self, source: Path) -> None:
        others = [
            *(".git/config", "src/.git/HEAD", ".hg/x", ".svn/x", ".mlog/e/r/run.json"),
            *("venv/pyvenv.cfg", "venv/lib/a.py", "my/env/pyvenv.cfg", "my/env/b.py"),
            *("conda/conda-meta/history", "conda/bin/x", "src/__pycache__/m.pyc"),
            *("m.pyc", ".mypy_cache/x", ".pytest_cache/x", ".ruff_cache/x", ".tox/x"),
            *(".ipynb_checkpoints/n.ipynb", "node_modules/x.js", "x.egg-info/PKG"),
            *("outputs/model.pkl", "logs/train.log", ".cache/x", ".DS_Store"),
            *("runs/e/r/run.json", "runs/e/r/events.jsonl", "runs/e/r/logs.jsonl"),
        ]
        plant(source, others)
        assert names_of(source) == KEPT

    def test_outputs_and_logs_are_left_out_on_top_only(self, source: Path) -> None:
        plant(source, ["src/logs/format.py", "src/outputs/x.py"])
        assert names_of(source) == KEPT | {"src/logs/format.py", "src/outputs/x.py"}

    def test_file_names_like_secrets_are_kept(self, source: Path) -> None:
        names = {"env.py", "keys.py", "secrets.py", "tokenizer.json", "monkey"}
        plant(source, names)
        assert names_of(source) == KEPT | names

    def test_source_may_be_a_link_or_an_environment_by_itself(
        self, source: Path, tmp_path: Path
    ) -> None:
        """The folder was named, so what is in it is meant."""
        plant(source, ["pyvenv.cfg"])
        (tmp_path / "link").symlink_to(source)
        assert names_of(tmp_path / "link") == KEPT | {"pyvenv.cfg"}

    def test_runs_are_left_out_where_their_root_is(self, source: Path) -> None:
        """Below the source, or the source itself."""
        for root in (source / "my-runs", source):
            run = Folder.open_below(root, ["e", "r"], PRIVATE)
            plant(run.path, ["run.json", "events.jsonl", "artifacts/x"])
            make_snapshot(source, run)
            assert packed(run).keys() == KEPT

    def test_links(self, source: Path, tmp_path: Path) -> None:
        """To a file inside that is kept: its content. Others are left out."""
        plant(source, [".env"])
        plant(tmp_path, ["theirs/x"])
        (source / "same.py").symlink_to("train.py")
        (source / "around").symlink_to(".")
        (source / "broken").symlink_to("nothing")
        (source / "hidden").symlink_to(".env")
        os.mkfifo(source / "pipe")
        assert names_of(source) == KEPT | {"same.py"}
        (source / "out").symlink_to(tmp_path / "theirs" / "x")
        (source / "out-folder").symlink_to(tmp_path / "theirs")
        with pytest.warns(MlogWarning, match="2 links in .* lead outside"):
            assert names_of(source) == KEPT | {"same.py"}

    def test_single_file(self, source: Path, run: Folder) -> None:
        facts = make_snapshot(source / "src" / "model.py", run)
        assert packed(run) == {"model.py": b"src/model.py"}
        assert (facts.size, facts.files) == (12, 1)

    def test_nothing_to_store_is_an_error(self, source: Path, run: Folder) -> None:
        plant(source, [".env"])
        (source / ".amlignore").write_text("*")
        for given in (source, source / ".env"):
            with pytest.raises(MlogError, match="there is nothing to store in"):
                make_snapshot(given, run)
        with pytest.raises(FileNotFoundError):
            make_snapshot(source / "missing", run)
        assert run.names() == []


class TestIgnoreFiles:
    """`.amlignore` replaces every `.gitignore`; the syntax is git's."""

    def test_each_gitignore_counts_for_its_folder(self, source: Path) -> None:
        plant(source, ["a.csv", "src/a.csv", "src/b.csv", "src/data/c", "data/c"])
        (source / ".gitignore").write_text("# data\n*.csv\n\n/data/\n")
        (source / "src" / ".gitignore").write_text("!b.csv\ndeep\n")
        assert names_of(source) == {
            *(KEPT - {"src/deep/er.py"}),
            *(".gitignore", "src/.gitignore", "src/b.csv", "src/data/c"),
        }

    def test_amlignore_replaces_them(self, source: Path) -> None:
        (source / ".gitignore").write_text("*.py\n")
        (source / "src" / ".gitignore").write_text("*\n")
        (source / ".amlignore").write_text("README\n")
        assert names_of(source) == {
            *(KEPT - {"README"}),
            *(".gitignore", "src/.gitignore", ".amlignore"),
        }

    def test_amlignore_below_is_a_file_like_others(self, source: Path) -> None:
        (source / "src" / ".amlignore").write_text("*\n")
        assert names_of(source) == KEPT | {"src/.amlignore"}

    def test_amlignore_takes_whole_folders_back(self, source: Path) -> None:
        """As v1 read it: the last line that fits a file, or its folder, decides."""
        (source / ".amlignore").write_text("*\n!src/\n!train.py\n*/deep/*\n")
        assert names_of(source) == {"src/model.py", "train.py"}

    def test_folders_left_out_are_not_looked_into(self, source: Path) -> None:
        plant(source, [f"data/{number}/x" for number in range(20)])
        (source / ".gitignore").write_text("/data\n")
        limits = Limits(max_files=6)
        assert len(source_files(source, limits=limits)) == len(KEPT) + 1

    def test_file_of_another_encoding_is_read(self, source: Path) -> None:
        (source / ".gitignore").write_bytes(b"\xef\xbb\xbfREADME\r\ncaf\xe9\r\n")
        assert names_of(source) == KEPT - {"README"} | {".gitignore"}

    @pytest.mark.parametrize(
        "lines",
        [
            ["*.log"],
            ["build/"],
            ["/build"],
            ["build"],
            ["*", "!*/", "!*.py"],
            ["*", "!*.py"],
            ["build/", "!build/keep.txt"],
            ["build/*", "!build/keep.txt"],
            ["/*", "!/pkg/"],
            ["data/**", "!data/**/", "!data/**/*.csv"],
            ["**/sub/"],
            ["pkg/**/c.log"],
            ["a.[pl]*", "[!a].txt", "?.py"],
            ["\\#hash", "\\!bang"],
            ["foo bar/", "*.txt ", "  "],
            ["x/**/deep.txt"],
            ["!a.py", "a.py"],
            ["a.py", "!a.py"],
            ["pkg", "!pkg/sub"],
            ["*.txt", "!keep.txt", "build"],
            ["sub/b.py"],
            ["/data/*", "!/data/raw/"],
            ["*", "!/pkg/", "!/pkg/**"],
        ],
        ids=" ".join,
    )
    def test_git_agrees(self, tmp_path: Path, lines: list[str]) -> None:
        names = [
            *("a.py", "a.log", "b.txt", "pkg/a.py", "pkg/a.txt", "pkg/sub/b.py"),
            *("pkg/sub/c.log", "build/x.o", "build/keep.txt", "build/sub/keep.txt"),
            *("data/raw/1.csv", "data/2.csv", "doc/build/y", "foo bar/z", "#hash"),
            *("!bang", "x/y/z/deep.txt"),
        ]
        plant(tmp_path, names)
        (tmp_path / ".gitignore").write_text("\n".join(lines) + "\n")
        command = ["git", "ls-files", "-z", "--others", "--exclude-standard"]
        try:
            subprocess.run(["git", "init", "-q", tmp_path], check=True)
        except OSError as exc:
            pytest.skip(f"no git here: {exc}")
        said = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
        expected = set(said.stdout.decode().split("\0")) - {""}
        try:
            found = names_of(tmp_path)
        except MlogError:
            found = set()
        assert found == expected


class TestLimits:
    """What is too much is told before anything is written."""

    def test_sizes_name_the_largest(self, source: Path, run: Folder) -> None:
        for name, size in (("data/a.bin", 3 << 20), ("b.bin", 5 << 20)):
            (source / name).parent.mkdir(exist_ok=True)
            with (source / name).open("wb") as file:
                file.truncate(size)
        with pytest.raises(MlogError) as caught:
            make_snapshot(source, run, limits=Limits(max_bytes=1 << 20))
        text = str(caught.value)
        assert "has 8.0 MiB in 7 files; a snapshot may have 1.0 MiB in 2,000" in text
        assert "The largest: b.bin (5.0 MiB), data/a.bin (3.0 MiB)," in text
        assert f"{source / '.amlignore'} (same syntax as .gitignore" in text
        assert "for take_snapshot, raise max_bytes and max_files" in text
        assert "for a submitted script, run it in place (--in-place" in text
        assert run.names() == []

    def test_counts_name_the_fullest_folders(self, source: Path, run: Folder) -> None:
        plant(source, [f"data/{number}" for number in range(30)])
        with pytest.raises(MlogError, match=r"most files: data \(30\), \. \(3\), src"):
            make_snapshot(source, run, limits=Limits(max_files=30))
        assert run.names() == []

    def test_exact_limits_are_kept(self, source: Path, run: Folder) -> None:
        size = sum(len(name) for name in KEPT)
        assert make_snapshot(source, run, limits=Limits(size, len(KEPT))).size == size

    def test_are_v1s_where_none_are_given(self) -> None:
        assert Limits.of(None, None) == Limits(300 << 20, 2_000)
        assert Limits.of(5, None) == Limits(5, 2_000)
        with pytest.raises(ValueError, match="max_files must be an integer >= 1"):
            Limits.of(None, 0)


class TestFile:
    """The ZIP file is the same for the same sources, whole, and knows its id."""

    def test_content(self, source: Path, run: Folder) -> None:
        facts = make_snapshot(source, run)
        assert packed(run) == {name: name.encode() for name in KEPT}
        assert list(packed(run)) == sorted(KEPT)
        assert (facts.files, facts.size) == (5, sum(len(name) for name in KEPT))
        assert stat.S_IMODE((run.path / "snapshot.zip").stat().st_mode) == 0o600

    def test_same_sources_give_the_same_bytes(
        self, source: Path, tmp_path: Path
    ) -> None:
        """Whatever their times and place; another name or content gives another id."""
        other = plant(tmp_path / "other", sorted(KEPT, reverse=True))
        os.utime(other / "train.py", (1_000, 1_000))
        third = plant(tmp_path / "third", KEPT)
        (third / "train.py").rename(third / "trainer.py")
        ids, files = [], []
        for number, folder in enumerate((source, other, third)):
            run = Folder.open_below(tmp_path / "root", ["e", str(number)], PRIVATE)
            ids.append(make_snapshot(folder, run).id)
            files.append((run.path / "snapshot.zip").read_bytes())
        assert ids[0] == ids[1] != ids[2]
        assert files[0] == files[1] != files[2]

    def test_scripts_stay_executable(self, source: Path, run: Folder) -> None:
        (source / "train.py").chmod(0o755)
        make_snapshot(source, run)
        with zipfile.ZipFile(run.path / "snapshot.zip") as file:
            modes = {i.filename: i.external_attr >> 16 for i in file.infolist()}
        assert modes["train.py"] == 0o100755
        assert modes["README"] == 0o100644

    def test_id_is_read_from_it(self, source: Path, run: Folder) -> None:
        facts = make_snapshot(source, run)
        with open_snapshot(run) as snapshot:
            assert snapshot.id == facts.id
            assert snapshot.file.read(2) == b"PK"

    def test_one_for_each_run(self, source: Path, run: Folder) -> None:
        make_snapshot(source, run)
        before = (run.path / "snapshot.zip").read_bytes()
        plant(source, ["new.py"])
        with pytest.raises(MlogError, match="has a snapshot already"):
            make_snapshot(source, run)
        assert (run.path / "snapshot.zip").read_bytes() == before

    def test_source_that_cannot_be_read_leaves_nothing(
        self, source: Path, run: Folder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files = source_files(source)
        (source / "src" / "model.py").unlink()
        (source / "src" / "model.py").mkdir()
        monkeypatch.setattr("mlog.run.snapshot.source_files", lambda *_, **__: files)
        with pytest.raises(IsADirectoryError):
            make_snapshot(source, run)
        assert run.names() == []

    def test_file_that_vanishes_is_left_out(
        self, source: Path, run: Folder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files = source_files(source)
        (source / "README").unlink()
        monkeypatch.setattr("mlog.run.snapshot.source_files", lambda *_, **__: files)
        assert make_snapshot(source, run).files == 4
        assert packed(run).keys() == KEPT - {"README"}

    def test_planted_link_is_not_written_through(
        self, source: Path, run: Folder, tmp_path: Path
    ) -> None:
        (tmp_path / "theirs").write_bytes(b"theirs")
        (run.path / "snapshot.zip").symlink_to(tmp_path / "theirs")
        with pytest.raises(MlogError):
            make_snapshot(source, run)
        with pytest.raises(UnsafePathError):
            open_snapshot(run)
        assert (tmp_path / "theirs").read_bytes() == b"theirs"

    def test_missing_or_damaged_is_told(self, run: Folder) -> None:
        with pytest.raises(MlogError, match="run r has no snapshot; "):
            open_snapshot(run)
        run.replace("snapshot.zip", b"PK half")
        with pytest.raises(MlogError, match="is damaged"):
            open_snapshot(run)


def test_a_full_disk_is_an_error_that_says_what_is_missing(
    source: Path, run: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("mlog.run.snapshot._pack", full)
    with pytest.raises(OSError, match="no snapshot was stored in") as caught:
        make_snapshot(source, run)
    assert caught.value.errno == errno.ENOSPC
    assert os.listdir(run.path) == []


class TestCopy:
    """A plain copy holds what the ZIP file would."""

    def test_same_files_and_id(self, source: Path, run: Folder, tmp_path: Path) -> None:
        plant(source, [".env", "data/x"])
        (source / ".amlignore").write_text("data\n")
        (source / "train.py").chmod(0o755)
        target = tmp_path / "copy"
        facts = copy_snapshot(source, target)
        assert facts == make_snapshot(source, run)
        copied = {str(p.relative_to(target)) for p in target.rglob("*") if p.is_file()}
        assert copied == packed(run).keys() == KEPT | {".amlignore"}
        assert os.access(target / "train.py", os.X_OK)

    def test_into_the_source_does_not_copy_itself(self, source: Path) -> None:
        target = source / "copy"
        for _ in range(2):
            assert copy_snapshot(source, target).files == len(KEPT)

    def test_too_much_copies_nothing(self, source: Path, tmp_path: Path) -> None:
        with pytest.raises(MlogError, match="a snapshot may have"):
            copy_snapshot(source, tmp_path / "copy", limits=Limits(max_files=1))
        assert not (tmp_path / "copy").exists()
