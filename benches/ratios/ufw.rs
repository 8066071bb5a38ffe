//! The real ufw, in a namespace: it reads and writes copies of its own files only.

use crate::net::Namespace;

/// Opens 22, 80 and 443 with ufw and enables it. What it reads and keeps below `/etc`, and its
/// lock below `/run`, are copies in a mount namespace that ends with the command.
const ENABLE: &str = "set -e
mount --make-rprivate /
work=$(mktemp -d)
mount -t tmpfs tmpfs \"$work\"
cp -a /etc/ufw \"$work/ufw\"
cp -a /etc/default \"$work/default\"
mount --bind \"$work/ufw\" /etc/ufw
mount --bind \"$work/default\" /etc/default
mount -t tmpfs tmpfs /run/lock
mkdir \"$work/run\"
[ ! -e /lib/ufw ] || { cp -a /lib/ufw \"$work/lib\"; mount --bind \"$work/lib\" /lib/ufw; }
cp /usr/share/ufw/iptables/*.rules /etc/ufw/
ufw default deny incoming
ufw allow 22/tcp
ufw allow 80/tcp
ufw allow 443/tcp
ufw --force enable
ufw status | grep -q '^Status: active'
";

/// Enables ufw in this namespace.
pub fn enable(namespace: &Namespace) {
    crate::net::run(namespace.command("unshare").args(["--mount", "sh", "-c", ENABLE]));
}
