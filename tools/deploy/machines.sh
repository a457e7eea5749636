# The walk-through docs/operations/three-machines.md, as it is written. Sourced by tools/deploy-test.
#
# Each machine is a network namespace with an address of its own on a switch (a bridge in one more namespace), and a
# home directory. Where namespaces cannot be made, the machines are the addresses 127.0.1.1 to 127.0.1.3. Copying
# between machines is played by a script named scp.

MACHINES=(ledger-1 ledger-2 ledger-3 client admin)

machines() {
  say "three machines: docs/operations/three-machines.md"
  mkdir -p "$work/bin" "$work/blocks"
  ln -s "$quorate" "$work/bin/quorate"
  machines_scp >"$work/bin/scp"
  chmod +x "$work/bin/scp"
  for name in "${MACHINES[@]}"; do mkdir -p "$work/machines/$name"; done
  machine_mode="loopback addresses"
  if [ "$(id -u)" = 0 ] && have ip iproute2 && machines_network; then
    machine_mode=namespaces
  else
    skip "network namespaces cannot be made here: the three machines are three loopback addresses"
  fi
  machines_blocks docs/operations/three-machines.md
  [ "$(find "$work/blocks" -name '*.sh' | wc -l)" -ge 12 ] || fail "the walk-through has lost its blocks"
  for block in "$work"/blocks/*.sh; do machines_run "$block"; done
  echo "walked through, the machines being $machine_mode"
}

machines_network() {
  local number=0 name
  add_namespace "$ns-switch" || return 1
  ip -n "$ns-switch" link add switch type bridge 2>/dev/null || return 1
  ip -n "$ns-switch" link set switch up
  for name in "${MACHINES[@]}"; do
    number=$((number + 1))
    add_namespace "$ns-$name" || return 1
    ip -n "$ns-switch" link add "port$number" type veth peer name eth0 netns "$ns-$name" || return 1
    ip -n "$ns-switch" link set "port$number" master switch up
    ip -n "$ns-$name" addr add "10.77.0.$number/24" dev eth0
    ip -n "$ns-$name" link set eth0 up
    mkdir -p "/etc/netns/$ns-$name"
    printf '127.0.0.1 localhost\n10.77.0.1 ledger-1.example\n10.77.0.2 ledger-2.example\n10.77.0.3 ledger-3.example\n' \
      >"/etc/netns/$ns-$name/hosts"
  done
}

# scp [-rp] FILE HOST: — into the home directory of that machine.
machines_scp() {
  cat <<SCRIPT
#!/usr/bin/env bash
set -euo pipefail
[ \$# = 3 ] && [ "\$1" = -rp ] || { echo "scp: expected -rp FILE HOST:" >&2; exit 1; }
host="\${3%%:*}"
case "\$host" in 127.0.1.*) host="ledger-\${host##*.}" ;; esac
cp -rp "\$2" "$work/machines/\${host%.example}/\${3#*:}"
SCRIPT
}

# Splits the document: NN.MACHINE.sh for each block "sh @MACHINE", and NN.MACHINE.expect for a "text" block that follows.
machines_blocks() {
  awk -v out="$work/blocks" '
    /^```sh @/ { split($2, word, "@"); name = sprintf("%s/%02d.%s", out, ++count, word[2]); file = name ".sh"; next }
    /^```text$/ { file = name ".expect"; next }
    /^```/ { file = ""; next }
    file != "" { print > file }
  ' "$1"
}

# Runs a block on its machine, in its home directory; every line of the text after it must be part of what it prints.
machines_run() {
  local block="$1" name home command line
  name="$(basename "$block" .sh)"
  name="${name#*.}"
  home="$work/machines/$name"
  echo "-- $name"
  sed 's/^/   /' "$block"
  command=(env -i HOME="$home" PATH="$work/bin:/usr/sbin:/usr/bin:/sbin:/bin" timeout 60 bash -euo pipefail "$block")
  if [ "$machine_mode" = namespaces ]; then
    command=(ip netns exec "$ns-$name" "${command[@]}")
  else
    sed -i 's/ledger-\([123]\)\.example/127.0.1.\1/g; s/ledger-\$node\.example/127.0.1.$node/g' "$block"
  fi
  if ! (cd "$home" && "${command[@]}") >"$block.out" 2>&1 </dev/null; then
    cat "$block.out"
    tail -n 20 "$work"/machines/ledger-*/quorate.log
    fail "the walk-through stops on $name"
  fi
  [ -f "${block%.sh}.expect" ] || return 0
  while read -r line; do
    grep -qF -- "$line" "$block.out" || { cat "$block.out"; fail "the walk-through promises: $line"; }
  done <"${block%.sh}.expect"
}
