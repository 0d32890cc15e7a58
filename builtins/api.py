# Generated from the builtins by go test ./builtins -update. Do not edit.
from typing import Any, Callable


class Machine:
    """A running virtual machine. It lives until the test ends."""

    id: str
    """The hypervisor's own name for the machine."""

    name: str
    """Its name within the test; also its hostname."""

    image: str
    """The image that it was made from."""

    driver: str
    """The driver that made it."""

    os: str
    """The guest's operating system as os-release names it: "debian"."""

    version: str
    """The version of the operating system: "12"."""

    kernel: str
    """The release of the guest's kernel."""

    arch: str
    """The guest's architecture: "amd64"."""

    user: str
    """The user that commands run as unless they say otherwise."""

    home: str
    """The home folder of that user."""

    cpus: int
    """The number of processors."""

    memory: int
    """The memory in bytes."""

    def path(self, path: str) -> GuestPath:
        """A path in this machine, for transfer. "~" is the user's home.

        Args:
          path: absolute, or below ~
        """

    def can(self, ability: str) -> bool:
        """Whether it has an ability. A script that asks first runs on drivers with fewer of them.

        Args:
          ability: "snapshot", "memory" (of snapshots), "fork", "console", "screenshot", "network", "suspend", "usage" or "disk"
        """

    def lacks(self, ability: str) -> str:
        """Why it has no such ability, and what can be done instead; empty if it has it.

        Args:
          ability: "snapshot", "memory" (of snapshots), "fork", "console", "screenshot", "network", "suspend", "usage" or "disk"
        """


class GuestPath:
    """A path in a machine. Machine.path makes one."""

    machine: Machine
    """The machine."""

    path: str
    """The path, as it was written."""


class ExecResult:
    """What a command did. It is true if the command exited with 0 in time."""

    ok: bool
    """The command exited with 0 in time."""

    code: int
    """The exit code; -1 if a signal ended it."""

    signal: str
    """The signal that ended it, such as "SIGKILL"; empty if none did."""

    timed_out: bool
    """It was killed because it took too long."""

    stdout: str
    """What it printed; the middle is cut out past 4 MiB."""

    stderr: str
    """What it printed to its standard error; cut like stdout."""

    seconds: float
    """How long it ran, measured in the guest."""

    cpu_seconds: float
    """Processor time of the command and all that it started."""

    peak_memory: int
    """The most memory that they held, in bytes; 0 if the guest's kernel does not tell."""

    orphans: list[str]
    """The command lines of the processes that it left running."""


class Transfer:
    """What a transfer copied."""

    files: int
    """The number of files, links included."""

    dirs: int
    """The number of folders."""

    bytes: int
    """The size of the files."""

    skipped: list[str]
    """What could not be copied, and why."""


class Snapshot:
    """The saved state of a machine."""

    name: str
    """Its name."""

    machine: Machine
    """The machine that was saved."""


class Capture:
    """What a machine was at one moment."""

    id: int
    """Its number within the test."""

    machine: Machine
    """The machine."""

    digest: str
    """The sha256 of all records."""

    kinds: list[str]
    """The kinds of record that it holds, sorted: "file", "package", …"""

    counts: dict[str, int]
    """How many records it holds of each kind."""

    witness: str
    """Who told of the files: "host", which read the machine's disk, or "guest", the agent in it."""

    problems: list[str]
    """What could not be observed, and why."""

    seconds: float
    """How long it took."""

    def of(self, kind: str) -> list[Record]:
        """The records of one kind, sorted by key.

        Args:
          kind: kind of record: "file", "package", …
        """

    def get(self, kind: str, key: str) -> Record:
        """The record of that kind and key, or None.

        Args:
          kind: kind of record: "file", "package", …
          key: its key: a path, "dpkg:jq", …
        """


class Record:
    """One fact that a capture observed."""

    kind: str
    """What it is about: "file", "package", …"""

    key: str
    """Its name among its kind: a path, "dpkg:jq", …"""

    attrs: dict[str, str]
    """What was observed."""


class Changes:
    """A list of Change, sorted by kind and key: what a diff found, or some of it. It is true if there is any."""

    added: Changes
    """Those whose record is new."""

    removed: Changes
    """Those whose record is gone."""

    modified: Changes
    """Those whose record is not what it was."""

    ignored: int
    """How many changes the globs left out."""

    noise: list[Noise]
    """What was left out because machines of the image do it by themselves."""

    summary: list[str]
    """The changes as people read them: all files of a package are one line."""

    machine: Machine
    """The machine that changed."""

    def of(self, kind: str) -> Changes:
        """Those of one kind.

        Args:
          kind: kind of record: "file", "package", …
        """

    def matching(self, glob: str) -> Changes:
        """Those whose key matches a glob.

        Args:
          glob: such as /etc/**
        """


class Change:
    """One record that two captures do not share."""

    kind: str
    """What it is about: "file", "package", …"""

    key: str
    """The record's name among its kind: a path, "dpkg:jq", …"""

    op: str
    """"added", "removed" or "modified"."""

    before: dict[str, str]
    """The record's attributes before; empty if it was added."""

    after: dict[str, str]
    """The record's attributes after; empty if it was removed."""

    fields: list[str]
    """The attributes that differ, sorted; of a modified record."""

    text: str
    """The unified diff of a small text file, or empty."""

    group: str
    """The larger change that it is part of: "package jq"; or empty."""


class Noise:
    """A change that was left out of a diff, because machines of the image do it by themselves."""

    change: Change
    """The change."""

    seen: int
    """How many placebos did it …"""

    of: int
    """… of how many that lasted as long."""


class Grade:
    """A policy's judgement of one subject."""

    letter: str
    """"A" to "F"; letters compare: g.letter <= "B"."""

    score: float
    """0 to 100, after caps."""

    verdict: str
    """"pass", "warn", "fail", "skip" or "error"."""

    policy: str
    """The policy's name and version."""

    axes: dict[str, float]
    """The score of each axis: "security", "cleanliness", …"""

    caps: list[str]
    """Why the letter is lower than the score alone says."""

    findings: list[Finding]
    """What was found, worst first."""


class Finding:
    """A judged fact of a grade."""

    rule: str
    """The rule that found it: "leftover-temp-files"."""

    severity: str
    """"CRITICAL", "HIGH", "MEDIUM", "LOW" or "INFO"."""

    axis: str
    """The axis that it takes points off."""

    points: float
    """How many."""

    message: str
    """What was found, in one line."""

    recommendation: str
    """What to do about it."""

    evidence: list[str]
    """What proves it: "file /etc/motd", "source run.sh:67"."""

    waived: bool
    """It counts nothing, for a reason that the report shows."""


class Network:
    """What a machine may reach. allow(…) makes one."""


def launch(image: str | Snapshot = None, *, name: str = None, cpus: int = None, memory: str = None, disk: str = None, network: str | Network = None, driver: str = None, cold: bool = False, fit: bool = False, existing: str = None, undo: bool = True) -> Machine:
    """Makes a machine from an image, or forks one from a snapshot, and returns it when its agent answers.
    It waits until the host has room for the machine, which lives until the test ends.

    Args:
      image: name of an image, or a Snapshot to fork; default: the image that the test runs on
      name: the machine's name and hostname; a-z, 0-9 and -
      cpus: number of processors; default: 1
      memory: memory; default: 512M
      disk: size of the disk; default: as large as the image
      network: what the machine may reach: "none", "open" or allow(HOST…); default: none
      driver: driver to use; default: the one that the test runs on
      cold: boot, even if a booted template could be cloned
      fit: take less where the host has not as much as asked for
      existing: the driver's name of a machine that you made: it is used instead of a new one, and left as it was
      undo: with existing: take back what the test wrote when it ends, if the driver has snapshots
    """


def exec(machine: Machine, command: str | list[str], *, user: str = None, env: dict[str, str] = None, cwd: str = None, stdin: str = None, timeout: str = "10m", check: bool = True) -> ExecResult:
    """Runs a command in a guest and waits for it to end. What it prints is shown while it runs.
    What it leaves running behind is listed in the result's orphans.

    Args:
      machine: machine to run the command on
      command: argv as a list, or a line for the guest's shell
      user: login name; default: Machine.user
      env: variables, over the user's login environment
      cwd: folder to run in; default: the user's home
      stdin: what the command reads
      timeout: when to kill the command and all that it started
      check: the test fails unless the command exits with 0 in time
    """


def transfer(src: str | GuestPath, dst: str | GuestPath, *, user: str = None) -> Transfer:
    """Copies a file or a folder into a guest or out of it, with modes and links; pipes, sockets,
    devices and setuid bits are left out, named in the log and in the result's skipped.
    A path of the host is one in the script's folder, or a parameter's. What comes out of a guest is kept beside the results under the name that dst gives, unless dst is a parameter's path.

    Args:
      src: what to copy: a path of the host, or Machine.path(…)
      dst: where to: the other of the two; an existing folder, or a path that ends in /, means into it
      user: owner of what is made in the guest; default: Machine.user
    """


def snapshot(machine: Machine, name: str = None) -> Snapshot:
    """Saves the whole state of a running machine, memory and disk. The machine runs on.
    restore goes back to it; launch makes new machines from it. Where the machine cannot
    save its memory (m.can("memory")), the disk is saved, and the guest may restart.

    Args:
      machine: machine to save
      name: name of the snapshot, new to the machine; default: snapshot-1, …
    """


def restore(machine: Machine, snapshot: Snapshot) -> None:
    """Takes a machine back to one of its snapshots. Its clock goes on, its randomness is fresh.

    Args:
      machine: machine to take back
      snapshot: a snapshot of this machine
    """


def capture(machine: Machine, *, only: list[str] = None) -> Capture:
    """Observes what a machine is: files, packages, processes, units, users and more.
    diff compares two captures.

    Args:
      machine: machine to look at
      only: names of collectors, such as "files" and "packages"; default: all
    """


def diff(before: Capture, after: Capture, *, ignore: list[str] = None, noise: bool = True) -> Changes:
    """Compares two captures: what was added, removed or modified. What a machine that does nothing does as
    well is left out: its twin showed it, or earlier placebos of the image.

    Args:
      before: the earlier capture
      after: the later capture
      ignore: globs over paths and other keys, or over kind:key; ** crosses folders
      noise: leave out what machines of the image do by themselves
    """


def placebo(machine: Machine, time: str = "30s") -> Changes:
    """Lets a machine do nothing for a while, and remembers what changed all the same: every later diff of
    machines of this image leaves that out. It returns what was not known before.

    Args:
      machine: machine that does nothing
      time: for how long; default: 30s
    """


def grade(changes: Changes, *, subject: Subject = None, run: ExecResult | list[ExecResult] = None, policy: Policy = None) -> Grade:
    """Judges what a subject did by a policy's rules. The test fails if the grade's verdict is fail.
    Every lost point is explained by a finding, and every finding names what proves it.

    Args:
      changes: what the subject did to the machine
      subject: the software under test, from subject(…); default: rules about its source are not asked
      run: the ExecResult, or list of them, that are the subject's doing; default: every exec of the test on this machine
      policy: what to judge by; default: the policy of @stdlib//policy/default.star
    """


def check(condition: Any, message: str) -> None:
    """Fails the test, with the message, unless the condition is true. Every check is recorded.

    Args:
      condition: what must be true
      message: what is wrong if it is not
    """


def wait_for(machine: Machine, *, file: str = None, port: int = None, unit: str = None, command: str | list[str] = None, timeout: str = "30s") -> None:
    """Waits in the guest until a file exists, a port is open, a unit is active or a command succeeds.

    Args:
      machine: machine to wait for
      file: a path that must exist
      port: a TCP port that something in the guest must listen on
      unit: a systemd unit that must be active
      command: a command that must exit with 0
      timeout: when to give up: the test fails
    """


def subject(path: str) -> Subject:
    """Reads the software under test, as it lies on the host, so that rules can look at its source.
    No link is followed; at most 2,000 files are read.

    Args:
      path: a file or folder of the host: in the script's folder, or a parameter's
    """


def param(name: str, default: Any = None, *, help: str = None) -> str:
    """Returns the value that the user gave with -p name=value, else the variant's, else the default.
    A path that the user gave counts from the folder that assay was started in.

    Args:
      name: the parameter's name
      default: its value if the user gives none; without a default the user must
      help: what it means, for the message that asks for it
    """


def log(message: Any) -> None:
    """Shows a message in the run's output.

    Args:
      message: a string, or any value, which is shown as print shows it
    """


def allow(*hosts: str) -> Network:
    """A network that reaches only some hosts. It is what launch takes as network.

    Args:
      hosts: names of hosts, without port
    """
