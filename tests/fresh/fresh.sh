#!/usr/bin/env bash
# Runs the README's commands in a new minimal Debian (debootstrap --variant=minbase) that has only what the README names.
# Not a part of `make test`: it needs root, debootstrap, and up to 10 GB of disk. Prints one table row for each check.
set -euo pipefail

usage() {
  cat << 'HELP'
Usage: tests/fresh/fresh.sh [OPTIONS] CHECK...

Checks, in the order given, all in one new Debian:
  no-venv   `make demo` before python3-venv is installed: one line, nothing left behind that stops the next make
  demo      `make demo`, the installation included
  demo-again  `make demo` with everything installed
  test      `make test`
  wheel     the wheel in a new environment and an empty folder: scan, filter, fit, colorize on generated photos
  chromium  no check: installs chromium, fonts-liberation and libatomic1 for the checks that follow
  headless  import cv2 of opencv-python (expected to fail) and of opencv-python-headless

Options:
  --suite NAME      Debian's name: bookworm (12, the default), trixie (13)
  --user NAME       who runs the commands: root (the default), or an ordinary user, who is made
  --work DIR        where the Debians, logs and results.md go (/var/tmp/vividset-fresh)
  --mirror URL      Debian mirror (http://deb.debian.org/debian)
  --bind DIR        show this folder to the new Debian, read-only, at the same path (local wheels); may be repeated
  --copy PATH       copy this file or folder to the same path (certificates, settings of apt); may be repeated
  --pip-conf FILE   copied to /etc/pip.conf
  --keep-env NAME   hand this environment variable over; all others are dropped; may be repeated
  --keep            leave the new Debian in place afterwards
  --again           use the Debian and the clone that --keep left, brought up to this commit
HELP
}

suite=bookworm user=root chromium='' work=/var/tmp/vividset-fresh mirror=http://deb.debian.org/debian pip_conf='' keep='' again=''
binds=() copies=() variables=() checks=()
arguments=("$@")
while (($#)); do
  case $1 in
    --suite) suite=$2; shift ;;
    --user) user=$2; shift ;;
    --work) work=$2; shift ;;
    --mirror) mirror=$2; shift ;;
    --bind) binds+=("$2"); shift ;;
    --copy) copies+=("$2"); shift ;;
    --pip-conf) pip_conf=$2; shift ;;
    --keep-env) variables+=("$2"); shift ;;
    --keep) keep=yes ;;
    --again) again=yes ;;
    -h | --help) usage; exit ;;
    no-venv | demo | demo-again | test | wheel | headless | chromium) checks+=("$1") ;;
    *) echo "unknown: $1 (see --help)" >&2; exit 2 ;;
  esac
  shift
done
((${#checks[@]})) || { usage >&2; exit 2; }
((EUID == 0)) || { echo 'a chroot needs root: sudo tests/fresh/fresh.sh ...' >&2; exit 2; }
command -v debootstrap > /dev/null || { echo 'debootstrap not found: apt install debootstrap' >&2; exit 2; }

# Mounts and processes of their own: both are gone when this script ends, however it ends.
if [[ -z ${VIVIDSET_FRESH_INSIDE:-} ]]; then
  VIVIDSET_FRESH_INSIDE=yes exec unshare --mount --pid --fork --kill-child --propagation private "$0" "${arguments[@]}"
fi

here=$(cd "$(dirname "$0")" && pwd)
name=$suite-$user
base=$work/base-$suite root=$work/$name logs=$work/logs
packages=(git make python3 python3-venv) # what the README names
mkdir -p "$logs"
exec 9> "$logs/$name.lock"
flock --nonblock 9 || { echo "another run uses $root: wait for it" >&2; exit 2; }

in_root() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive "$@"; }

find_home() { home=$(in_root getent passwd "$user" | cut -d: -f6); }

install() { in_root apt-get install -qq -y --no-install-recommends "$@" > "$logs/$name-apt.log" 2>&1; }

as_user() { # a shell command in the clone, as the user, without the variables, locale and files of this machine
  local kept=() variable
  for variable in "${variables[@]}"; do kept+=("$variable=${!variable-}"); done
  # nohup and a shell's & leave signals ignored, which the tests of Ctrl-C and SIGHUP would inherit
  chroot --userspec="$user" "$root" env -i --default-signal PATH=/usr/local/bin:/usr/bin:/bin HOME="$home" USER="$user" \
    "${kept[@]}" \
    sh -c "cd $home/vividset && $1"
}

hand_over() {
  git -C "$here" bundle create -q "$root/tmp/vividset.bundle" HEAD
  cp "$here/photos.py" "$root/tmp/"
}

mount_root() {
  local path
  mount -t proc proc "$root/proc"
  mkdir -p "$root/dev/shm" "$root/dev/pts"
  mount -t tmpfs tmpfs "$root/dev/shm"
  mount -t devpts devpts "$root/dev/pts"
  for path in "${binds[@]}"; do
    mkdir -p "$root$path"
    mount --bind "$path" "$root$path"
    mount -o remount,bind,ro "$root$path"
  done
}

make_root() {
  local path
  if [[ ! -e $base/etc/debian_version ]]; then
    debootstrap --variant=minbase --include=ca-certificates "$suite" "$base.new" "$mirror" > "$logs/debootstrap-$suite.log"
    mv "$base.new" "$base"
  fi
  rm -rf --one-file-system "$root"
  cp -a "$base" "$root"
  mount_root
  for path in /etc/resolv.conf "${copies[@]}"; do
    mkdir -p "$root$(dirname "$path")"
    cp -rL --remove-destination "$path" "$root$(dirname "$path")/"
  done
  [[ -z $pip_conf ]] || cp "$pip_conf" "$root/etc/pip.conf"
  in_root apt-get update -qq > "$logs/$name-apt.log" 2>&1
  if [[ ${checks[0]} == no-venv ]]; then install git make python3; else install "${packages[@]}"; fi
  [[ $user == root ]] || in_root useradd --create-home "$user"
  find_home
  hand_over
  chroot --userspec="$user" "$root" env -i PATH=/usr/bin:/bin HOME="$home" git -c advice.detachedHead=false -c init.defaultBranch=main clone -q \
    /tmp/vividset.bundle "$home/vividset"
}

remove_root() {
  umount -R "$root/proc" "$root/dev/shm" "$root/dev/pts" $(printf "$root%s " "${binds[@]}")
  rm -rf --one-file-system "$root"
}

check_no_venv() {
  local said
  as_user 'python3 -m venv .venv' > /dev/null && { echo 'python3-venv is installed already'; return 1; }
  said=$(as_user 'make demo' 2>&1) && { echo 'make demo passed without python3-venv'; return 1; }
  echo "$said"
  grep -q 'apt install python3-venv' <<< "$said" || return 1
  install "${packages[@]}" # the next check goes on with the half-made .venv of the first line
}

check_headless() {
  as_user 'python3 -m venv /tmp/cv && /tmp/cv/bin/pip install -q opencv-python==5.0.0.93' || return 1
  as_user '/tmp/cv/bin/python -c "import cv2"' && { echo 'opencv-python imports here'; return 1; }
  as_user '/tmp/cv/bin/pip uninstall -qy opencv-python; /tmp/cv/bin/pip install -q opencv-python-headless==5.0.0.93 &&
    /tmp/cv/bin/python -c "import cv2; print(cv2.__version__)"'
}

check_wheel() {
  as_user "set -e
    rm -rf /tmp/wheel $home/stage $home/fresh
    python3 -m venv $home/fresh
    . $home/fresh/bin/activate
    pip wheel -q --no-deps -w /tmp/wheel .
    pip install -q /tmp/wheel/*.whl
    mkdir $home/stage
    cd $home/stage
    python /tmp/photos.py photos
    curate scan photos
    curate filter --min-colorfulness 20 --split 80/20/0
    train fit manifests/clean.parquet --image-size 64 --channels 8 --epochs 2 --batch-size 4
    train colorize runs/clean photos/000.jpg -o colored
    test -s colored/000.jpg"
}

summary() { # the line to show of a log: the counts of both pytests, the demo's time, or the last line
  grep -aoE '[0-9]+ (passed|failed).* in [0-9.]+s|^Done in .*|.*cannot make virtual.*' "$1" | paste -s -d ';' | grep . || tail -n 1 "$1"
}

failed=0
if [[ -n $again ]]; then
  find_home
  mount_root
  hand_over
  as_user 'git fetch -q /tmp/vividset.bundle HEAD && git checkout -q FETCH_HEAD'
else
  make_root
fi
version="Debian $(cat "$root/etc/debian_version"), $(in_root python3 --version)"
for check in "${checks[@]}"; do
  if [[ $check == chromium ]]; then
    install chromium fonts-liberation libatomic1
    chromium=-chromium
    continue
  fi
  log=$logs/$name$chromium-$check.log began=$SECONDS
  case $check in
    no-venv) command=check_no_venv ;;
    headless) command=check_headless ;;
    wheel) command=check_wheel ;;
    *) command="as_user 'make ${check%-again}'" ;;
  esac
  result=passed
  (eval "$command") > "$log" 2>&1 || { result=FAILED failed=1; }
  row="| $version | $user${chromium:+, with Chromium} | $check | $result | $((SECONDS - began)) | $(summary "$log" | tr -d '=|' | xargs -0) |"
  echo "$row" | tee -a "$work/results.md"
done
[[ -n $keep ]] || remove_root
exit $failed
