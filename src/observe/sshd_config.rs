//! sshd's configuration and systemd's socket units → the ports at which SSH is meant to listen.
//!
//! For the time before anything listens: at boot. What cannot be read adds nothing, and 22 is
//! always among them.

use super::activation::SocketUnits;
use super::ssh::UNITS;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const FILE: &str = "etc/ssh/sshd_config";
/// Deeper than sshd itself follows `Include` (`servconf.c`: 16).
const DEPTH: u32 = 16;
const PORT: u16 = 22;

/// The ports below this root (`/`): those of `Port`, of `ListenAddress`, and of SSH's socket units.
pub fn ssh_ports(root: &Path) -> BTreeSet<u16> {
    let mut ports = BTreeSet::from([PORT]);
    read(root, &root.join(FILE), DEPTH, &mut ports);
    ports.extend(SocketUnits::read(root).tcp_ports(&UNITS));
    ports
}

/// Reads one file and those that it includes. Which `Match` block a line stands in does not count:
/// a port too many is only one that sshd does not serve.
fn read(root: &Path, file: &Path, depth: u32, ports: &mut BTreeSet<u16>) {
    let Ok(text) = std::fs::read_to_string(file) else { return };
    for line in text.lines() {
        let mut words = words(line);
        let Some(keyword) = words.next() else { continue };
        match keyword.to_ascii_lowercase().as_str() {
            "port" => ports.extend(words.next().and_then(|word| word.parse::<u16>().ok())),
            "listenaddress" => ports.extend(words.next().and_then(port_of)),
            "include" if depth > 0 => {
                for included in words.flat_map(|pattern| included(root, pattern)) {
                    read(root, &included, depth - 1, ports);
                }
            }
            _ => {}
        }
    }
}

/// The words of a line (sshd_config(5)): by white space or one `=`, perhaps in quotes, up to `#`.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let line = line.split('#').next().unwrap_or_default();
    line.split(|c: char| c.is_whitespace() || c == '=' || c == '"').filter(|word| !word.is_empty())
}

/// The port of `host:port`, `address:port` or `[address]:port`.
fn port_of(address: &str) -> Option<u16> {
    let behind = match address.rsplit_once(']') {
        Some((_, behind)) => behind.strip_prefix(':')?,
        // More than one colon is an IPv6 address alone.
        None => address.split_once(':').filter(|(_, port)| !port.contains(':'))?.1,
    };
    behind.parse().ok()
}

/// The files that `Include` means: relative to `/etc/ssh`, with wildcards in the last part. Of a
/// wildcard only what stands behind its last `*` is compared.
fn included(root: &Path, pattern: &str) -> Vec<PathBuf> {
    let path = match pattern.strip_prefix('/') {
        Some(absolute) => root.join(absolute),
        None => root.join("etc/ssh").join(pattern),
    };
    let Some((_, end)) = pattern.rsplit_once(['*', '?', ']']) else { return vec![path] };
    let Some(folder) = path.parent() else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let fits = |path: &PathBuf| path.as_os_str().as_encoded_bytes().ends_with(end.as_bytes());
    entries.flatten().map(|entry| entry.path()).filter(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(files: &[(&str, &str)]) -> Vec<u16> {
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("has one")).expect("made");
            std::fs::write(path, text).expect("written");
        }
        ssh_ports(root.path()).into_iter().collect()
    }

    #[test]
    fn ports_are_found_wherever_they_are_set() {
        assert_eq!(ports(&[]), [22], "without a configuration");
        let main = "# Port 1\nInclude /etc/ssh/sshd_config.d/*.conf\nport = 2222 # why\n\
                    ListenAddress 192.0.2.1:2200\nListenAddress [2001:db8::1]:2201 rdomain 3\n\
                    ListenAddress 2001:db8::1\nListenAddress 192.0.2.1\nInclude more\nPort x\n";
        let found = ports(&[
            (FILE, main),
            ("etc/ssh/sshd_config.d/10-a.conf", "Port \"2300\"\n"),
            ("etc/ssh/sshd_config.d/10-a.conf.bak", "Port 9999\n"),
            ("etc/ssh/more", "PORT 2400\nInclude more\n"),
            ("etc/systemd/system/ssh.socket", "[Socket]\nListenStream=2500\n"),
            ("etc/systemd/system/web.socket", "[Socket]\nListenStream=80\n"),
        ]);
        assert_eq!(found, [22, 2200, 2201, 2222, 2300, 2400, 2500]);
    }
}
