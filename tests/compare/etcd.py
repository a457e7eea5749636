"""Three members of etcd, with certificates of an authority of their own."""

import pathlib, ssl, subprocess, urllib.error, urllib.request

from machine import Member, Party, free_ports, need, run_json, until

HERE = pathlib.Path(__file__).resolve().parent
QUOTA = 64 << 30
NOTHING = "there is nothing to compare with; install it (Debian: etcd-server)"
BUILDS = "it builds etcd's load generator; install it (https://go.dev/dl)"
CERTIFIES = "it makes etcd's certificates; install it (Debian: openssl)"


def check_peers(program):
    """Ends, and says who is missing, before anything is started."""
    for one, why in ((program, NOTHING), ("go", BUILDS), ("openssl", CERTIFIES)):
        need(one, why)


class Etcd(Party):
    name = "etcd"
    settings = "defaults (fsync on), but for room of 64 GiB instead of 2; TLS to clients and between members"

    def __init__(self, program, folder):
        self.program, self.folder = need(program, NOTHING), folder
        folder.mkdir()
        self.make_certificates(need("openssl", CERTIFIES))
        ports = free_ports(6)
        self.clients = {f"member{n}": f"https://127.0.0.1:{ports[n]}" for n in range(3)}
        peers = {f"member{n}": f"https://127.0.0.1:{ports[3 + n]}" for n in range(3)}
        cluster = ",".join(f"{name}={url}" for name, url in peers.items())
        self.members = [self.member(name, peers[name], cluster) for name in self.clients]
        self.tls = ssl.create_default_context(cafile=folder / "ca.crt")
        go = need("go", BUILDS)
        self.load_program = folder / "etcd-load"
        subprocess.run([go, "build", "-o", self.load_program, "."], cwd=HERE / "etcd-load", check=True, timeout=600)
        self.start()

    def make_certificates(self, openssl):
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        (self.folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
        for command in (
            [openssl, "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=authority"],
            [openssl, "req", *key, "-keyout", "member.key", "-out", "member.csr", "-subj", "/CN=member"],
            [openssl, "x509", "-req", "-in", "member.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
             "-out", "member.crt", "-days", "2", "-extfile", "names"],
        ):
            subprocess.run(command, cwd=self.folder, check=True, capture_output=True, timeout=60)

    def member(self, name, peer, cluster):
        client = self.clients[name]
        return Member(name, [
            self.program, "--name", name, "--data-dir", f"data-{name}", "--log-level", "error",
            "--quota-backend-bytes", QUOTA,
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", cluster, "--initial-cluster-state", "new",
            "--cert-file", "member.crt", "--key-file", "member.key",
            "--peer-cert-file", "member.crt", "--peer-key-file", "member.key", "--peer-trusted-ca-file", "ca.crt",
        ], self.folder)

    def ready(self, member):
        try:
            answer = urllib.request.urlopen(self.clients[member.name] + "/health", timeout=2, context=self.tls)
            return b'"true"' in answer.read()
        except (urllib.error.URLError, OSError):
            return False

    def load(self, what, clients, seconds, limit=3_600, keys=100_000):
        before = self.written()
        result = self.ask("-what", what, "-clients", clients, "-duration", f"{seconds}s", "-keys", keys,
                          timeout=seconds + limit)
        if result is None:
            return None
        after = {member.name: member.written_bytes() for member in self.members if member.process is not None}
        done = max(1, result["operations"])
        result["written_per_operation"] = max(max(0, after[name] - before[name]) // done for name in after)
        return result

    def ask(self, *options, timeout=60):
        command = [self.load_program, "-endpoints", ",".join(self.clients.values()), "-cacert", self.folder / "ca.crt",
                   *map(str, options)]
        return run_json(command, timeout)

    def leader(self):
        found = []

        def known():
            leader = self.ask("-what", "leader")["endpoint"]
            found[:] = [member for member in self.members
                        if self.clients[member.name] == leader and member.process is not None]
            return bool(found)

        until(known, "etcd has a leader")
        return found[0]

    def version(self):
        said = subprocess.run([self.program, "--version"], capture_output=True, text=True, check=True).stdout
        return said.split("\n")[0].replace(" Version:", "")
