"""A fake `docker`, as no container engine runs where these tests do.

It takes the commands that mlog gives to a client, executes the script of a container as
a process of this machine, and does what a test can see of an engine:

- Options that docker does not have are refused, exit code 125.
- A script finds the variables that were passed, and none of this machine's.
- Folders that are not mounted count as not there: the working directory and all of
  `PYTHONPATH` and `MLOG_RUN` must lie below a mount.
- The script runs on when the client is killed; SIGTERM is passed on.
- `--rm` removes the container at its end, `rm --force` ends it.

What it cannot show: file systems, users and limits of a real container.

`FAKE_DOCKER` names a folder: `images.json` (`{"local": {name: folder of PATH},
"registry": {…}}`), `calls.jsonl` with all command lines, `version` and `security` with
what it says of itself, `containers/<name>` with the process ids of those that are there.
"""

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

STATE = Path(os.environ["FAKE_DOCKER"])


def main() -> int:
    with (STATE / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps(sys.argv[1:]) + "\n")
    match sys.argv[1:]:
        case ["--version"]:
            return say((STATE / "version").read_text())
        case ["info", "--format", "{{.SecurityOptions}}"]:
            return say((STATE / "security").read_text())
        case ["info", "--format", "{{.Host.Security.Rootless}}"]:
            return say((STATE / "security").read_text())
        case ["image", "inspect", "--format", "{{.Id}}", image]:
            known = image in images()["local"]
            return say("sha256:1234") if known else fail(f"No such image: {image}", 1)
        case ["pull", image]:
            return pull(image)
        case ["rm", "--force", name]:
            return remove(name)
        case ["run", *words]:
            return run(words)
    return fail(f"unknown command: {sys.argv[1:]}", 1)


def say(text: str) -> int:
    sys.stdout.write(text.rstrip("\n") + "\n")
    return 0


def fail(text: str, code: int = 125) -> int:
    sys.stderr.write(f"docker: Error response from daemon: {text}\n")
    return code


def images() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads((STATE / "images.json").read_text())
    return found


def pull(image: str) -> int:
    known = images()
    if image not in known["registry"]:
        return fail(f"pull access denied for {image}, repository does not exist", 1)
    known["local"][image] = known["registry"].pop(image)
    (STATE / "images.json").write_text(json.dumps(known))
    return say(f"Status: Downloaded newer image for {image}")


def remove(name: str) -> int:
    file = STATE / "containers" / name
    if not file.exists():
        return fail(f"No such container: {name}", 1)
    os.killpg(int(file.read_text()), signal.SIGKILL)
    file.unlink()
    return 0


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        sys.exit(fail(message))


def options(words: list[str]) -> Any:
    parser = Parser(allow_abbrev=False, add_help=False)
    for name in ("--rm", "--init"):
        parser.add_argument(name, action="store_true")
    for name in (
        "--name",
        "--label",
        "--user",
        "--userns",
        "--workdir",
        "--entrypoint",
    ):
        parser.add_argument(name)
    for name in ("--cpus", "--memory", "--gpus", "--shm-size", "--network"):
        parser.add_argument(name)
    for name in ("--mount", "--env"):
        parser.add_argument(name, action="append", default=[])
    parser.add_argument("image")
    parser.add_argument("line", nargs=argparse.REMAINDER)
    return parser.parse_args(words)


def run(words: list[str]) -> int:
    given = options(words)
    known = images()["local"]
    if given.image not in known:
        return fail(f"No such image: {given.image}")
    env = {"PATH": known[given.image], "IMAGE": given.image}
    for item in given.env:
        name, equals, value = item.partition("=")
        env[name] = value if equals else os.environ[name]
    mounts = [mount_of(text) for text in given.mount]
    for path in (given.workdir, env.get("MLOG_RUN"), *env["PYTHONPATH"].split(":")):
        if path not in (None, "/") and not is_below(path, mounts):
            return fail(f"{path} is not mounted")
    return start(given, env)


def mount_of(text: str) -> str:
    (fields,) = csv.reader([text])
    said = dict(field.partition("=")[::2] for field in fields)
    assert said["type"] == "bind"
    assert os.path.exists(said["source"]), f"{said['source']} does not exist"
    return said["target"]


def is_below(path: str, mounts: list[str]) -> bool:
    return any(Path(path).is_relative_to(mount) for mount in mounts)


def start(given: Any, env: dict[str, str]) -> int:
    file = STATE / "containers" / given.name
    assert not file.exists(), "the name is in use"
    line = given.line
    try:
        child = subprocess.Popen(
            line, env=env, cwd=given.workdir, stdin=0, start_new_session=True
        )
    except FileNotFoundError:
        return fail(f'exec: "{line[0]}": executable file not found in $PATH', 127)
    file.parent.mkdir(exist_ok=True)
    file.write_text(str(child.pid))
    signal.signal(signal.SIGTERM, lambda number, _: child.send_signal(number))
    code = child.wait()
    if given.rm:
        file.unlink(missing_ok=True)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
