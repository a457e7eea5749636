"""Checks deploy/compose/compose.yaml against what the manual and the image promise. Used by tools/deploy-test."""

import re
import sys

import yaml


def fail(message):
    """Ends with what is wrong."""
    sys.exit(f"compose.yaml: {message}")


def check_everyone(name, service):
    """What holds for every container."""
    if service.get("read_only") is not True:
        fail(f"{name}: the root is not read-only")
    if service.get("cap_drop") != ["ALL"] or "no-new-privileges:true" not in service.get("security_opt", []):
        fail(f"{name}: it keeps capabilities or may gain privileges")
    if str(service.get("user", "0")).split(":")[0] in ("0", "root"):
        fail(f"{name}: it runs as root")
    if service.get("privileged") or service.get("network_mode") == "host":
        fail(f"{name}: it is not contained")


def check_node(name, service, probe):
    """What holds for a node: the image's own probe, its own keys read-only, data in a volume of its own."""
    health = service.get("healthcheck", {})
    if health.get("test") != ["CMD", *probe]:
        fail(f"{name}: the health check is {health.get('test')}, the image's is {probe}")
    condition = service.get("depends_on", {}).get("init", {}).get("condition")
    if condition != "service_completed_successfully":
        fail(f"{name}: it does not wait for its keys")
    keys = [v for v in service["volumes"] if isinstance(v, dict) and v["target"] == "/etc/quorate"]
    if len(keys) != 1 or keys[0].get("read_only") is not True:
        fail(f"{name}: its configuration is not mounted read-only")
    if keys[0]["volume"]["subpath"] != f"cluster/{name}":
        fail(f"{name}: it sees {keys[0]['volume']['subpath']}")
    for port in service.get("ports", []):
        if not port.startswith("127.0.0.1:") or port.endswith(":7401"):
            fail(f"{name}: {port} is open to others, or is the port between nodes")
    return [v.split(":")[0] for v in service["volumes"] if isinstance(v, str)]


def main(compose_path, containerfile_path):
    """Checks the file."""
    with open(compose_path, encoding="utf-8") as file:
        compose = yaml.safe_load(file)
    with open(containerfile_path, encoding="utf-8") as file:
        recipe = file.read()
    probe = re.search(r"^HEALTHCHECK .*?CMD \[(.*?)\]", recipe, re.M | re.S)
    probe = re.findall(r'"([^"]*)"', probe.group(1)) if probe else fail("the Containerfile has no health check")
    services = compose["services"]
    nodes = sorted(name for name in services if name.startswith("node-"))
    if nodes != ["node-1", "node-2", "node-3"]:
        fail(f"nodes: {nodes}")
    for name, service in services.items():
        check_everyone(name, service)
    data = [volume for name in nodes for volume in check_node(name, services[name], probe)]
    if len(set(data)) != len(nodes) or not set(data) <= set(compose["volumes"]):
        fail(f"data volumes: {data}")
    made = "".join(services["init"]["command"])
    for name in nodes:
        if f"{name.removeprefix('node-')}={name}" not in made:
            fail(f"init makes no keys for {name}")
    print(f"{len(services)} services: {len(nodes)} nodes with health checks, all with a read-only root and no privileges")


if __name__ == "__main__":
    main(*sys.argv[1:])
