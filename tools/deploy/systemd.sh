# The systemd unit: does systemd understand it, and how much does it let the service do? Sourced by tools/deploy-test.

# Highest exposure level that is accepted, in tenths: 0 is a service that can do nothing, 100 an unprotected one.
MAX_EXPOSURE=15

systemd() {
  say "systemd: deploy/systemd"
  have systemd-analyze systemd || { skip "systemd: systemd-analyze is missing and cannot be installed"; return; }
  local unit="$work/quorate.service" out level
  # The binary is where it was built; everything else is checked as it is.
  sed "s|/usr/bin/quorate|$quorate|" deploy/systemd/quorate.service >"$unit"
  out="$(systemd-analyze verify "$unit" 2>&1)" || fail "systemd-analyze verify: $out"
  out="$(grep -F quorate.service <<<"$out" || true)"
  [ -z "$out" ] || fail "systemd-analyze verify: $out"
  level="$(systemd-analyze security --offline=true --no-pager "$unit" | sed -n 's/.*Overall exposure level[^:]*: \([0-9]*\)\.\([0-9]\).*/\1\2/p')"
  [ -n "$level" ] || fail "systemd-analyze security gives no level"
  [ "$level" -le "$MAX_EXPOSURE" ] || fail "exposure level $level tenths, at most $MAX_EXPOSURE"
  echo "verified; exposure level $((10#$level)) of 100"
  systemd_accounts
}

# The account and the ownership of the configuration, in a root directory of our own.
systemd_accounts() {
  if [ "$(id -u)" != 0 ] || ! command -v systemd-sysusers >/dev/null; then
    skip "systemd: sysusers and tmpfiles need root and systemd"
    return
  fi
  local fake="$work/root" owner
  mkdir -p "$fake/etc/quorate/keys" "$fake/usr/lib/sysusers.d" "$fake/usr/lib/tmpfiles.d"
  printf 'root:x:0:0:root:/root:/bin/sh\n' >"$fake/etc/passwd"
  printf 'root:x:0:\n' >"$fake/etc/group"
  install -m 0600 /dev/null "$fake/etc/quorate/keys/block.key"
  cp deploy/systemd/quorate.sysusers.conf "$fake/usr/lib/sysusers.d/quorate.conf"
  cp deploy/systemd/quorate.tmpfiles.conf "$fake/usr/lib/tmpfiles.d/quorate.conf"
  systemd-sysusers --root="$fake" quorate.conf 2>&1 | grep -v '^Creating' || true
  systemd-tmpfiles --root="$fake" --create quorate.conf
  owner="$(sed -n 's/^quorate:[^:]*:\([0-9]*\):\([0-9]*\):.*/\1:\2/p' "$fake/etc/passwd")"
  [ -n "$owner" ] || fail "systemd-sysusers made no account"
  [ "$(stat -c %a:%u:%g "$fake/etc/quorate")" = "700:$owner" ] || fail "/etc/quorate is not the account's own"
  [ "$(stat -c %a:%u:%g "$fake/etc/quorate/keys/block.key")" = "600:$owner" ] || fail "the keys are not the account's own"
  echo "account and ownership are made"
}
