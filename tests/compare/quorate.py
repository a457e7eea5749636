"""Nodes of Quorate, and the echo that answers like one and does nothing."""

import os, subprocess, urllib.error, urllib.request

from machine import Member, Party, free_ports, run_json, until


class Quorate(Party):
    """A cluster as `quorate init` makes it, with the configuration that it writes."""

    name = "Quorate"
    settings = "as `quorate init` writes them: every answer synced on a majority, TLS everywhere"

    def __init__(self, program, folder, nodes=3, apart=False):
        """`apart`: the nodes on the first half of the cores, the load on the others."""
        self.program, self.folder = program, folder
        half = max(1, (os.cpu_count() or 1) // 2)
        pins = [["taskset", "-c", cores] for cores in (f"0-{half - 1}", f"{half}-{max(half, (os.cpu_count() or 1) - 1)}")]
        on_nodes, self.on_load = pins if apart else ([], [])
        folder.mkdir()
        ports = free_ports(3 * nodes)
        self.endpoints = [f"https://127.0.0.1:{ports[3 * n]}" for n in range(nodes)]
        self.http = {}
        init = [program, "init", "--name", "compare.example/bench", "--listen", "127.0.0.1", "--out", folder / "cluster"]
        for n in range(nodes):
            client, peer, http = ports[3 * n:3 * n + 3]
            init += ["--node", f"{n + 1}=127.0.0.1:{client}:{peer}:{http}"]
            self.http[f"node-{n + 1}"] = f"http://127.0.0.1:{http}/readyz"
        run_json([*init, "-o", "json"], 30)
        self.members = [
            Member(f"node-{n}", [*on_nodes, program, "server", "--config", folder / f"cluster/node-{n}/quorate.toml"], folder)
            for n in range(1, nodes + 1)]
        self.start()

    def ready(self, member):
        try:
            return urllib.request.urlopen(self.http[member.name], timeout=2).status == 200
        except (urllib.error.URLError, OSError):
            return False

    def environment(self, endpoints=None, timeout="60s"):
        client = self.folder / "cluster/client"
        policies = ",".join(str(path) for path in sorted(client.glob("*.policy")))
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), "QUORATE_TIMEOUT": timeout,
                "QUORATE_ENDPOINTS": ",".join(endpoints or self.endpoints), "QUORATE_POLICY": policies,
                "QUORATE_CACERT": str(client / "authority.crt"), "QUORATE_TRUST_DIR": str(self.folder / "trust")}

    def load(self, options, seconds, endpoints=None, limit=3_600, timeout="60s", errors=False):
        """One run of `quorate bench`. Where errors are what is looked for, they are told."""
        command = [*self.on_load, self.program, "bench", *options, "--warm-up", "1s", "--duration", f"{seconds}s", "-o", "json"]
        result = run_json(command, seconds + limit, env=self.environment(endpoints, timeout))
        if result["errors"] != "0" and not errors:
            raise RuntimeError(f"{' '.join(map(str, command))}: {result['errors']} errors, the first: {result['first_error']}")
        latency = result["latency_us"]
        written = [int(node["written_bytes_per_operation"]) for node in result["nodes"]
                   if node["written_bytes_per_operation"] is not None]
        told = {"operations_per_second": float(result["operations_per_second"]),
                "p50_us": int(latency["p50"]), "p99_us": int(latency["p99"]), "max_us": int(latency["max"]),
                "written_per_operation": max(written, default=0)}
        if errors:
            told |= {"refused": int(result["failures"]["refused"]), "not_sent": int(result["not_sent"] or 0),
                     "other_errors": int(result["errors"]) - int(result["failures"]["refused"])}
        return told

    def leader(self):
        found = []

        def known():
            status = run_json([self.program, "status", "-o", "json"], 60, env=self.environment())
            found[:] = [member for member in self.members
                        if status["leader"] == member.name.removeprefix("node-") and member.process is not None]
            return bool(found)

        until(known, "there is a leader")
        return found[0]

    def version(self):
        return run_version([self.program, "--version"])


class Echo:
    """One process that answers commits with TLS and messages like a node's, and keeps nothing."""

    def __init__(self, program, quorate):
        folder = quorate.folder / "cluster/node-1/tls"
        (port,) = free_ports(1)
        self.quorate, self.endpoint = quorate, f"https://127.0.0.1:{port}"
        command = [program, f"127.0.0.1:{port}", folder / "server.crt", folder / "server.key"]
        self.member = Member("echo", command, quorate.folder)
        self.member.start()
        try:
            until(lambda: "listening" in self.member.said(), "the echo listens")
        except BaseException:
            self.stop()
            raise

    def load(self, options, seconds):
        return self.quorate.load(options, seconds, endpoints=[self.endpoint])

    def stop(self):
        self.member.kill()


def run_version(command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().split("\n")[0]
