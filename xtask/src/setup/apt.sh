# apt.sh "UNIT..." PACKAGE... : installs packages, starts none of their services. Run by root.
set -eu
units=$1
shift

# Policy 101: no action of a package's scripts may start a service. Taken back in any case; one that
# is there already is the administrator's, and stays.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

# Services of packages that are new here are not started at the next boot either.
new=
for unit in $units; do
    dpkg-query --show --showformat '${db:Status-Status}' "$unit" 2>/dev/null | grep -qx installed ||
        new="$new $unit"
done

# apt waits for dpkg's lock, but not for that of the lists: a new machine's own update may hold it.
update() {
    for _ in $(seq 150); do
        said=$(apt-get update -q 2>&1) && return
        case $said in *lists/lock*) sleep 2 ;; *) break ;; esac
    done
    printf '%s\n' "$said"
    return 100
}

export DEBIAN_FRONTEND=noninteractive
update
apt-get install -q --yes --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"

for unit in $new; do
    update-rc.d "$unit" disable || :
done
