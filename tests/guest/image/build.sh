#!/bin/bash
# Builds a guest's image: `build.sh RELEASE OUT` leaves `vmlinuz`, `initrd` and `root.raw` in OUT.
#
# The text of this file is the image's recipe: its hash names the image in the cache.
set -euo pipefail
release=$1
out=$2
root=$out/root
early=$out/early

install_missing_commands() {
    # By command, not by package: one command may come from several packages that exclude each other.
    local wanted='mmdebstrap:mmdebstrap cpio:cpio mkfs.ext4:e2fsprogs xz:xz-utils qemu-system-x86_64:qemu-system-x86'
    local missing='' pair
    for pair in $wanted; do
        command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
    done
    [ -z "$missing" ] && return
    echo "installing what the guest needs:$missing"
    apt-get update -q
    # shellcheck disable=SC2086 # one word a package
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
}

unpack_debian() {
    local packages=systemd,systemd-sysv,dbus,udev,kmod,libpam-systemd,procps,qemu-guest-agent
    packages=$packages,linux-image-cloud-amd64,busybox-static,bash,strace,python3-cbor2,uidmap,cron,at,e2fsprogs
    mmdebstrap --quiet --variant=minbase --include="$packages" "$release" "$root"
    kernel=$(basename "$root"/usr/lib/modules/*)
}

# The disk's driver is a module, so a small initramfs loads it, mounts the root and hands over.
make_initrd() {
    local file name
    mkdir -p "$early"/{bin,dev,root}
    cp -L "$root/bin/busybox" "$early/bin/busybox"
    ln -s busybox "$early/bin/sh"
    printf '#!/bin/sh\n' > "$early/init"
    for module in virtio_pci virtio_blk ext4; do
        chroot "$root" modprobe --set-version "$kernel" --show-depends "$module"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r file; do
        name=$(basename "$file" .xz)
        case $file in
        *.xz) xz -dc "$root$file" > "$early/$name" ;;
        *) cp "$root$file" "$early/$name" ;;
        esac
        echo "busybox insmod /$name" >> "$early/init"
    done
    cat >> "$early/init" <<'INIT'
busybox mount -t devtmpfs dev /dev
busybox mount -t ext4 -o rw /dev/vda /root
busybox umount /dev
exec busybox switch_root /root /sbin/init
INIT
    chmod 755 "$early/init"
    (cd "$early" && find . | cpio --quiet -o -H newc) > "$out/initrd"
    cp "$root"/boot/vmlinuz-* "$out/vmlinuz"
}

slim() {
    local kept='virtio|virtio_blk|virtio_console|virtio_ring|virtio_pci[a-z_]*|virtio-rng|overlay|autofs4|bfq'
    kept="$kept|null_blk|quota_v2|quota_tree|loop|crc32c[a-z_-]*|libcrc32c|fuse|configfs|efi-pstore|tun|zram"
    find "$root/usr/lib/modules/$kernel/kernel" -name '*.ko*' | grep -vE "/($kept)\\.ko" | xargs rm
    chroot "$root" depmod "$kernel"
    (
        cd "$root"
        rm -rf boot/* initrd.img* vmlinuz* var/lib/apt/lists/* var/cache/*
        rm -rf usr/share/{doc,info,man,locale,lintian,zoneinfo,bash-completion,zsh,common-licenses,bug,perl}
        rm -rf usr/share/initramfs-tools usr/lib/x86_64-linux-gnu/{gconv,perl} usr/lib/udev/hwdb.{bin,d}
        mkdir -p usr/share/{man,doc} var/cache/{apt/archives/partial,ldconfig,debconf}
    )
}

configure() {
    echo fairbox > "$root/etc/hostname"
    printf '127.0.0.1 localhost fairbox\n' > "$root/etc/hosts"
    echo 0123456789abcdef0123456789abcdef > "$root/etc/machine-id"
    echo '/dev/disk/by-id/virtio-root / ext4 rw,relatime 0 0' > "$root/etc/fstab"
    mkdir -p "$root/var/log/journal" # so that the journal outlives a reboot, as on a real machine
    chroot "$root" sh -eu <<'CHROOT'
getent group students >/dev/null || groupadd students
getent group staff >/dev/null || groupadd staff
for user in alice:1001 bob:1002 carol:1003 mallory:1666; do
    useradd -m -u "${user#*:}" -U -s /bin/bash "${user%:*}"
done
# What fails or waits without a network, a console or a hardware database.
systemctl --quiet mask getty@tty1.service serial-getty@ttyS0.service getty-static.service \
    systemd-networkd.service systemd-networkd-wait-online.service systemd-resolved.service \
    systemd-timesyncd.service systemd-firstboot.service systemd-pstore.service \
    systemd-hwdb-update.service systemd-binfmt.service \
    proc-sys-fs-binfmt_misc.automount proc-sys-fs-binfmt_misc.mount
# What a test starts that is about it.
systemctl --quiet disable cron.service atd.service
# What would wake up in the middle of a test.
systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer systemd-tmpfiles-clean.timer
CHROOT
    # Nothing in /usr is newer than this: no ldconfig, no journal catalogue at boot.
    touch "$root/etc/.updated" "$root/var/.updated"
}

install_missing_commands
unpack_debian
make_initrd
slim
configure
truncate -s 1G "$out/root.raw"
mkfs.ext4 -q -F -L root -d "$root" "$out/root.raw"
rm -rf "$root" "$early"
