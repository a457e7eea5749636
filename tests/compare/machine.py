"""What all parties of a comparison have in common: processes, ports, and what the operating system says of them."""

import json, os, pathlib, shutil, signal, socket, subprocess, sys, time

READY_S = 60


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def need(program, why):
    path = shutil.which(str(program))
    if path is None:
        sys.exit(f"{program} is missing: {why}")
    return path


def free_ports(count):
    """Ports below those that the system takes for outgoing connections: a member must get its own again after a kill."""
    found = []
    for port in range(20_000 + os.getpid() % 8_000, 32_000):
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    sys.exit("there are no free ports on 127.0.0.1 between 20000 and 32000")


def until(ready, what, limit=READY_S):
    """Seconds until `ready` is true."""
    begin = time.monotonic()
    while not ready():
        if time.monotonic() - begin > limit:
            raise RuntimeError(f"{what} within {limit} s: no")
        time.sleep(0.02)
    return time.monotonic() - begin


def run_json(command, timeout, **more):
    """Runs a command that prints one JSON document."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, **more)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stderr.decode()[-2000:]}")
    return json.loads(done.stdout) if done.stdout.strip() else None


class Member:
    """A process that may be killed and started again."""

    def __init__(self, name, command, folder, environment=None):
        self.name, self.command, self.folder, self.environment = name, list(map(str, command)), folder, environment
        self.process = None

    def start(self):
        with open(self.folder / f"{self.name}.log", "ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def said(self):
        return (self.folder / f"{self.name}.log").read_text(errors="replace")[-2000:]

    def memory_bytes(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError(f"{self.name} has no resident memory: it has ended")

    def written_bytes(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/io").read_text().splitlines():
            if line.startswith("write_bytes:"):
                return int(line.split()[1])
        raise RuntimeError(f"{self.name} has written nothing: it has ended")


class Party:
    """Three members of one system. Subclasses say how to start them, to load them, and who leads."""

    members = ()

    def start(self):
        try:
            for member in self.members:
                member.start()
            for member in self.members:
                self.wait_ready(member)
        except BaseException:
            self.stop()
            raise

    def wait_ready(self, member):
        try:
            until(lambda: self.ready(member), f"{member.name} is ready")
        except RuntimeError as error:
            raise RuntimeError(f"{error}:\n{member.said()}") from None

    def stop(self):
        for member in self.members:
            member.kill()

    def written(self):
        return {member.name: member.written_bytes() for member in self.members}

    def largest_memory(self):
        return max(member.memory_bytes() for member in self.members)

    def restart_s(self, member):
        """Kills a member, starts it again, and says how long it took until it was ready."""
        member.kill()
        member.start()
        return until(lambda: self.ready(member), f"{member.name} is ready again", limit=600)


def settings(folder):
    """The machine, as far as figures depend on it."""
    cpu = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    memory = int(open("/proc/meminfo").readline().split()[1]) // (1 << 20)
    filesystem = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True).stdout.strip()
    return {"cores": os.cpu_count(), "processor": cpu[0] if cpu else "unknown", "memory_gib": memory,
            "kernel": os.uname().release, "file_system": filesystem,
            "free_gib": shutil.disk_usage(folder).free >> 30}
