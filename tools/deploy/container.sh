# The container: built by buildah on a debootstrap root, and run as its user with a read-only root. Sourced by
# tools/deploy-test.

container() {
  say "container: deploy/container/Containerfile"
  if [ "$(id -u)" != 0 ]; then skip "container: needs root"; return; fi
  have buildah buildah && have debootstrap debootstrap && have ip iproute2 ||
    { skip "container: buildah or debootstrap is missing and cannot be installed"; return; }
  container_base || { skip "container: no base system could be made"; return; }
  local context="$work/context" image container
  mkdir -p "$context"
  cp deploy/container/Containerfile "$context/"
  strip -o "$context/quorate" "$quorate" 2>/dev/null || cp "$quorate" "$context/quorate"
  image=localhost/quorate-test
  build build --isolation chroot --format docker --build-arg BASE=localhost/quorate-base -t "$image" "$context" \
    >"$work/build.log" 2>&1 || { cat "$work/build.log"; fail "the image cannot be built"; }
  container_promises "$image"
  container="$(build from "$image")"
  echo "image: $(build run --isolation chroot "$container" -- quorate --version)"
  [ "$(build run --isolation chroot "$container" -- id -u)" = 65532 ] || fail "the image runs as root"
  container_node "$container"
}

# buildah with a storage of our own.
build() {
  buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs "$@"
}

# A Debian base image of the release this machine runs, from the archive that this machine uses.
container_base() {
  local release archive tar container
  release="$(. /etc/os-release && echo "${VERSION_CODENAME:-}")"
  archive="$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $release" | head -n 1)"
  tar="$cache/base-$release.tar"
  [ -n "$release" ] && [ -n "$archive" ] || return 1
  if [ ! -s "$tar" ]; then
    echo "making a base system of $release, once"
    timeout 200 debootstrap --variant=minbase "$release" "$work/base" "$archive" >"$work/debootstrap.log" 2>&1 ||
      { tail -n 5 "$work/debootstrap.log" >&2; return 1; }
    rm -rf "$work"/base/var/cache/apt/archives/*.deb "$work"/base/var/lib/apt/lists/* "$work"/base/usr/share/{doc,man,locale}
    tar -C "$work/base" -cf "$tar.new" . && mv "$tar.new" "$tar"
    rm -rf "$work/base"
  fi
  container="$(build from scratch)"
  build add "$container" "$tar" / >/dev/null
  build commit --rm "$container" localhost/quorate-base >"$work/base.log" 2>&1
}

# What the image says about itself.
container_promises() {
  build inspect --type image "$1" >"$work/image.json"
  python3 - "$work/image.json" <<'CHECK' || fail "the image does not keep its promises"
import json, sys
config = json.load(open(sys.argv[1]))["Docker"]["config"]
assert config["User"] == "65532:65532", config["User"]
assert config["Healthcheck"]["Test"] == ["CMD", "/usr/bin/quorate", "health", "--http", "127.0.0.1:7402"], config["Healthcheck"]
assert config["Entrypoint"] == ["/usr/bin/quorate"] and config["Cmd"][0] == "server", config
assert config["StopSignal"] == "SIGTERM" and "/var/lib/quorate" in config["Volumes"], config
CHECK
}

# One node in the image's file system, mounted read-only, in a network of its own; asked by the image's own probe.
container_node() {
  local container="$1" tree data="$work/data" probe pid
  add_namespace "$ns-container" || { skip "container: no network namespace for a running node"; return; }
  probe=(ip netns exec "$ns-container" buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs
    run --isolation chroot "$container" -- /usr/bin/quorate health --http 127.0.0.1:7402)
  "${probe[@]}" >/dev/null 2>&1 && fail "the probe finds a node where there is none"
  tree="$(build mount "$container")"
  install -d -m 0700 -o 65532 -g 65532 "$data"
  ip netns exec "$ns-container" unshare --mount --pid --fork --kill-child \
    bash -euo pipefail -c 'container_inside "$@"' container "$tree" "$data" >"$work/container.log" 2>&1 &
  pid=$!
  for _ in $(seq 60); do
    "${probe[@]}" >/dev/null 2>&1 && break
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.5
  done
  "${probe[@]}" || { cat "$work/container.log"; fail "the node in the container is not ready"; }
  end_process "$pid"
  wait "$pid" 2>/dev/null || true
  echo "a node ran in the image as user 65532 with a read-only root, and the probe found it"
}

# Runs in namespaces of its own: these mounts are seen by nobody else, and go with them.
container_inside() {
  local tree="$1" data="$2"
  mount --make-rprivate /
  mount --bind "$tree" "$tree"
  mount --bind "$data" "$tree/var/lib/quorate"
  mount -t tmpfs tmpfs "$tree/tmp"
  mount -t proc proc "$tree/proc"
  mount --bind /dev "$tree/dev"
  mount -o remount,ro,bind "$tree"
  touch "$tree/written" 2>/dev/null && { echo "the root can be written to"; exit 1; }
  exec chroot --userspec=65532:65532 "$tree" /bin/sh -ec '
    cd /var/lib/quorate
    quorate init --name container.example/test --node 1=127.0.0.1 --data-dir /var/lib/quorate/data --out cluster
    exec quorate server --config cluster/node-1/quorate.toml'
}
export -f container_inside

container_clean_up() {
  [ -d "$work/storage" ] || return 0
  build umount --all >/dev/null 2>&1
  build rm --all >/dev/null 2>&1
  build rmi --all --force >/dev/null 2>&1
}
