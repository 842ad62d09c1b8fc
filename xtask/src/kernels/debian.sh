# debian.sh FOLDER RELEASE PACKAGES : makes root.ext4 and boot/ in FOLDER. Run by root.
set -eu
cd "$1"
rm -rf tree boot root.ext4
trap 'rm -rf tree' EXIT
trap 'exit 130' HUP INT TERM
mmdebstrap --quiet --variant=minbase --include="$3" "$2" tree
/usr/sbin/mke2fs -q -t ext4 -O ^has_journal -d tree root.ext4 4G
mkdir boot
cp tree/boot/vmlinuz-* tree/boot/initrd.img-* boot
# Whoever calls boots from them.
chmod 644 root.ext4 boot/*
