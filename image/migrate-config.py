"""Migrate config.yaml of a home and of each of its profiles with Hermes Agent's own
migration. Each configuration is migrated in a process of its own. Copies of what is
there come first, and come back if the migration fails.

    migrate-config.py home
"""

import os
import re
import shutil
import signal
import sys
import time
from pathlib import Path

import yaml
from hermes_cli.config import check_config_version, migrate_config

# The gateways wait meanwhile, and the account may have made any number of profiles.
SECONDS_IN_ALL = 60
SECONDS_FOR_ONE = 20
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")


def say(text: str) -> None:
    print(f"hermes-setup: {text}", file=sys.stderr, flush=True)


def homes(home: Path):
    """The home and its profiles: each with the name of the profile and its directory."""
    yield "default", home
    try:
        names = sorted(os.listdir(home / "profiles"))
    except OSError:
        return
    for name in names:
        if NAME.match(name) and (home / "profiles" / name).is_dir():
            yield name, home / "profiles" / name


def migrate(directory: Path) -> str:
    """Migrate one configuration, in a process of its own. Returns what there is to say."""
    # Hermes Agent takes a file that is no YAML for one of the newest version.
    yaml.safe_load((directory / "config.yaml").read_text(encoding="utf-8"))
    before, latest = check_config_version()
    if before >= latest:
        return ""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    copies = []
    for file in (directory / "config.yaml", directory / ".env"):
        if file.is_file():
            copies.append((file, file.with_name(f"{file.name}.bak-{stamp}")))
            shutil.copy2(*copies[-1])
    try:
        migrate_config(interactive=False, quiet=True)
        after = check_config_version()[0]
        if after < latest:
            raise RuntimeError(f"the version is still {after}")
    except BaseException:
        for file, copy in copies:
            shutil.copy2(copy, file)
        raise
    return f"info: configuration migrated from version {before} to {latest}, the old one is beside it, .bak-{stamp}"


def in_a_process(directory: Path) -> str:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            # What Hermes Agent prints may have bytes of the volume in it.
            os.dup2(nothing, descriptor)
        os.environ["HERMES_HOME"] = str(directory)
        signal.alarm(SECONDS_FOR_ONE)
        try:
            said = migrate(directory)
        except BaseException as error:
            said = f"warning: unable to migrate the configuration: {ascii(' '.join(str(error).split()))[:200]}"
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read(1000).decode()
    status = os.waitpid(child, 0)[1]
    if status != 0:
        return f"warning: unable to migrate the configuration: it took longer than {SECONDS_FOR_ONE} seconds, or was killed"
    return said


def main() -> None:
    home = Path(sys.argv[1])
    end = time.monotonic() + SECONDS_IN_ALL
    for name, directory in homes(home):
        if not (directory / "config.yaml").is_file():
            continue
        if time.monotonic() > end:
            say(f"warning: configurations from {name} on are not migrated, {SECONDS_IN_ALL} seconds are over: hermes -p NAME config migrate")
            return
        said = in_a_process(directory)
        if said:
            remedy = f": hermes -p {name} config migrate" if said.startswith("warning") else ""
            say(f"{said}: profile={name}{remedy}")


main()
