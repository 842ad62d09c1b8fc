# run.sh : runs the list beside this file in a machine, and says on the console how each ended.
export PATH=/usr/sbin:/usr/bin HOME=/root TERM=dumb TEARDOWN_IN_A_MACHINE=1
here=$(dirname "$0")
exec >/dev/console 2>&1

# Process 1 is this shell, where it is not systemd.
mountpoint -q /tmp || mount -t tmpfs tmp /tmp
mountpoint -q /sys/fs/cgroup || mount -t cgroup2 cgroup /sys/fs/cgroup
ip link set lo up
modprobe tun

# Programs find what they were built with at the place where they were built.
while read -r name place; do
    mkdir -p "$place"
    mount --bind "$here/$name" "$place"
    cd "$place"
done <"$here/places"

while read -r name program words; do
    echo "xtask: $name begins"
    # What a test would read from a terminal is not ours to give.
    timeout 1800 "$program" --test-threads=1 --color=never $words </dev/null
    echo "xtask: $name ended with $?"
done <"$here/list"
echo "xtask: that was all"
