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

export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q --yes --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"

for unit in $new; do
    update-rc.d "$unit" disable || :
done
