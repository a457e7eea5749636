"""A primary of immudb with two synchronous replicas: its own form of three members. It has no failover."""

import pathlib, socket, subprocess

from machine import Member, Party, free_ports, need, run_json

HERE = pathlib.Path(__file__).resolve().parent
BUILDS = "it builds immudb and its load generator; install it (https://go.dev/dl)"
OFF = ["--web-server=false", "--metrics-server=false", "--pgsql-server=false"]


class Immudb(Party):
    name = "immudb"
    settings = ("a primary and two synchronous replicas, one of which acknowledges every write; synced mode; "
                "**no TLS**, in its favour")

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        go = need("go", BUILDS)
        for program, package in (("immudb", "github.com/codenotary/immudb/cmd/immudb"), ("immudb-load", ".")):
            subprocess.run([go, "build", "-o", folder / program, package], cwd=HERE / "immudb-load", check=True, timeout=1_800)
        ports = free_ports(3)
        self.ports = dict(zip(("primary", "replica1", "replica2"), ports))
        follow = ["--replication-is-replica", "--replication-primary-host", "127.0.0.1", "--replication-primary-port", ports[0],
                  "--replication-primary-username", "immudb", "--replication-primary-password", "immudb"]
        self.members = [
            self.member(name, follow if name != "primary" else ["--replication-sync-acks", "1"]) for name in self.ports]
        self.start()

    def member(self, name, options):
        return Member(name, [self.folder / "immudb", "--dir", f"data-{name}", "--address", "127.0.0.1",
                             "--port", self.ports[name], *OFF, "--replication-sync-enabled", *options], self.folder)

    def ready(self, member):
        try:
            socket.create_connection(("127.0.0.1", self.ports[member.name]), timeout=2).close()
            return True
        except OSError:
            return False

    def load(self, what, clients, seconds, limit=3_600, keys=100_000):
        command = [self.folder / "immudb-load", "-port", self.ports["primary"], "-state", self.folder / "state", "-what", what,
                   "-clients", clients, "-duration", f"{seconds}s", "-keys", keys]
        return run_json(list(map(str, command)), seconds + limit, cwd=self.folder)

    def version(self):
        said = run([need("go", BUILDS), "list", "-m", "github.com/codenotary/immudb"], HERE / "immudb-load")
        return said.rsplit("/", 1)[-1].strip()


def run(command, folder):
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=60).stdout
