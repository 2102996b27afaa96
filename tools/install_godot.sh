#!/usr/bin/env bash
# Finds Godot 4.6 or newer, or installs it on Debian; the way to start it goes to stdout, all else to stderr.
#
#   tools/install_godot.sh           find it, else install it (a minute and 1 GB, the first time)
#   tools/install_godot.sh --find    find it only; exit 3 when there is none
#
# Order: GODOT_BIN, then godot4 or godot on PATH, then the copy this script installed.
# The copy comes from Debian unstable, which has the newest packaged Godot. Its packages are
# unpacked into a root of their own and nothing of this system is replaced. The launcher starts
# Godot there through that root's own loader, so it still sees this machine's files and network.
#
#   GODOT_BIN       a Godot to use as it is
#   GREENROOM_GODOT_ROOT  where the copy lives (default ${XDG_CACHE_HOME:-~/.cache}/greenroom/godot)
#
# Exit codes: 0 found or installed, 2 wrong usage, 3 no Godot, with the reason on stderr.
set -euo pipefail

least=4.6
root=${GREENROOM_GODOT_ROOT:-${XDG_CACHE_HOME:-$HOME/.cache}/greenroom/godot}
log=$root.log

say() { printf 'install_godot: %s\n' "$*" >&2; }

give_up() {
  say "$1"
  say "set GODOT_BIN to a Godot $least or newer (https://godotengine.org/download)"
  exit 3
}

# Prints the version when $1 starts and is new enough.
version_of() {
  local version
  version=$("$1" --version 2>/dev/null | tail -n 1) || return 1
  [[ $version =~ ^[0-9]+\.[0-9]+ ]] || return 1
  [[ $(printf '%s\n%s\n' "$least" "${BASH_REMATCH[0]}" | sort -V | head -n 1) == "$least" ]] || return 1
  printf '%s\n' "$version"
}

accept() {
  local version
  version=$(version_of "$1") || return 1
  say "Godot $version"
  printf '%s\n' "$1"
  exit 0
}

find_one() {
  local path name
  if [[ -n ${GODOT_BIN:-} ]]; then
    path=$(command -v "$GODOT_BIN") || give_up "GODOT_BIN names $GODOT_BIN, which can't be started"
    accept "$path" || give_up "GODOT_BIN names $path, which is no Godot $least or newer"
  fi
  for name in godot4 godot; do
    path=$(command -v "$name") || continue
    accept "$path" || say "passing over $path: no Godot $least or newer"
  done
  [[ ! -x $root/launch ]] || accept "$root/launch" || say "the copy in $root does not start"
}

need_tools() {
  [[ $(uname -s) == Linux ]] || give_up "installing works on Linux only"
  command -v apt-get >/dev/null || give_up "installing needs Debian's apt-get, which is not here"
  [[ $(id -u) == 0 ]] || give_up "installing needs root: run this once as root"
  local missing=()
  command -v debootstrap >/dev/null || missing+=(debootstrap)
  command -v gpgv >/dev/null || missing+=(gpgv)
  [[ -e $keyring ]] || missing+=(debian-archive-keyring)
  if ((${#missing[@]})); then
    say "installing ${missing[*]}"
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
      "${missing[@]}"; } >>"$log" 2>&1 || give_up "apt could not install ${missing[*]}; see $log"
  fi
}

# The mirror this machine already uses for Debian, so that one behind a proxy works too.
mirror() {
  apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 2>/dev/null |
    awk '$1 == "Debian" && $2 !~ /security/ { sub("/$", "", $2); print $2; exit }'
}

write_launcher() {
  cat >"$1/launch" <<'LAUNCHER'
#!/bin/sh
# Starts this root's Godot with this root's libraries and loader.
root=$(dirname "$(readlink -f "$0")")
machine=$(uname -m)
case $machine in
  aarch64) loader=$root/lib/ld-linux-aarch64.so.1 ;;
  *) loader=$root/lib64/ld-linux-x86-64.so.2 ;;
esac
libraries=$root/usr/lib/$machine-linux-gnu
exec "$loader" --library-path "$libraries:$libraries/pulseaudio" "$root/usr/bin/godot" "$@"
LAUNCHER
  chmod 755 "$1/launch"
}

install_one() {
  local fresh=$root.partial from
  from=$(mirror)
  say "installing Godot from Debian unstable into $root (log: $log)"
  rm -rf "$fresh"
  debootstrap --variant=minbase --keyring="$keyring" --include=godot sid "$fresh" ${from:+"$from"} \
    >>"$log" 2>&1 || give_up "the packages of Debian unstable could not be unpacked; see $log"
  rm -rf "$fresh"/var/cache/apt/archives/*.deb
  write_launcher "$fresh"
  rm -rf "$root"
  mv "$fresh" "$root"
}

case ${1:-} in
  '') ;;
  --find)
    find_one
    give_up "no Godot $least or newer found; tools/install_godot.sh installs one"
    ;;
  *)
    say "unknown argument $1; see the head of $0"
    exit 2
    ;;
esac

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
find_one
mkdir -p "$(dirname "$root")"
exec 9>"$root.lock"
flock 9
find_one # another run may have installed it while this one waited
: >"$log"
need_tools
install_one
accept "$root/launch" || give_up "what was installed in $root does not start; see $log"
