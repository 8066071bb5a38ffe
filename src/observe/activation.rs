//! systemd's unit files → which unit a socket is for that systemd itself holds.
//!
//! systemd opens the sockets of a `*.socket` unit and starts the service when someone connects;
//! until then process 1 is the listener. The unit files, generated ones and drop-ins included,
//! say which service that is (systemd.socket(5), systemd.unit(5)). No D-Bus is asked.

use crate::model::Protocol;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// Where unit files are, the most important first (systemd.unit(5), "System Unit Search Path").
const FOLDERS: [&str; 12] = [
    "etc/systemd/system.control",
    "run/systemd/system.control",
    "run/systemd/transient",
    "run/systemd/generator.early",
    "etc/systemd/system",
    "run/systemd/system",
    "run/systemd/generator",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
    "run/systemd/generator.late",
    "etc/systemd/system.attached",
];

/// A socket unit that listens on the network.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SocketUnit {
    /// The unit that it starts.
    service: String,
    /// What it listens on.
    listens: Vec<Listen>,
    /// Whether systemd says that it is active.
    active: bool,
}

/// One `ListenStream=` or `ListenDatagram=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Listen {
    protocol: Protocol,
    /// `None` for a port alone, which means every address.
    address: Option<IpAddr>,
    port: u16,
}

/// The socket units of a host.
#[derive(Debug, Default)]
pub struct SocketUnits(Vec<SocketUnit>);

impl SocketUnits {
    /// Reads the unit files below this root (`/`).
    pub fn read(root: &Path) -> Self {
        let folders: Vec<PathBuf> = FOLDERS.iter().map(|folder| root.join(folder)).collect();
        let mut units = Vec::new();
        for (name, file) in unit_files(&folders) {
            let mut text = fs::read_to_string(&file).unwrap_or_default();
            for drop_in in drop_ins(&folders, &name) {
                text.push_str("\n[Socket]\n");
                text.push_str(&fs::read_to_string(drop_in).unwrap_or_default());
            }
            let active = root
                .join(format!("run/systemd/units/invocation:{name}"))
                .symlink_metadata()
                .is_ok();
            units.extend(parse(&name, &text).map(|unit| SocketUnit { active, ..unit }));
        }
        // Active ones first, each group by name.
        units.sort_by_key(|unit| !unit.active);
        Self(units)
    }

    /// The unit that systemd starts for this listening socket.
    pub fn service(&self, protocol: Protocol, local: SocketAddr) -> Option<&str> {
        let fits = |listen: &Listen| {
            listen.protocol == protocol
                && listen.port == local.port()
                && listen.address.map_or(local.ip().is_unspecified(), |own| own == local.ip())
        };
        self.0.iter().find(|unit| unit.listens.iter().any(fits)).map(|unit| unit.service.as_str())
    }

    /// The TCP ports at which systemd listens for one of these services.
    pub fn tcp_ports(&self, services: &[&str]) -> impl Iterator<Item = u16> {
        let units = self.0.iter().filter(|unit| services.contains(&unit.service.as_str()));
        let listens = units.flat_map(|unit| &unit.listens);
        listens.filter(|listen| listen.protocol == Protocol::TCP).map(|listen| listen.port)
    }
}

/// Socket units by name, with the file that counts; masked ones and templates left out.
fn unit_files(folders: &[PathBuf]) -> BTreeMap<String, PathBuf> {
    let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut instances = BTreeSet::new();
    for folder in folders {
        for name in names_in(folder) {
            if name.ends_with(".socket") {
                found.entry(name.clone()).or_insert_with(|| folder.join(name));
            } else if name.ends_with(".wants") || name.ends_with(".requires") {
                instances.extend(
                    names_in(&folder.join(&name)).into_iter().filter(|n| n.ends_with(".socket")),
                );
            }
        }
    }
    for instance in instances {
        if let Some((template, _)) = instance.split_once('@')
            && let Some(file) = found.get(&format!("{template}@.socket")).cloned()
        {
            found.entry(instance).or_insert(file);
        }
    }
    // An alias is a link to the unit's own name.
    found.retain(|name, file| {
        !name.contains("@.")
            && fs::read_link(&*file).ok().is_none_or(|target| {
                let target_name = target.file_name().and_then(|name| name.to_str());
                target_name == Some(name.as_str())
                    || (name.contains('@') && target_name.is_some_and(|n| n.contains("@.")))
            })
    });
    found
}

/// The drop-ins of a unit, in the order in which they count; of two of one name the more
/// important one alone.
fn drop_ins(folders: &[PathBuf], name: &str) -> Vec<PathBuf> {
    let mut folder_names = vec!["socket.d".to_owned(), format!("{name}.d")];
    if let Some((template, _)) = name.split_once('@') {
        folder_names.insert(1, format!("{template}@.socket.d"));
    }
    let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
    for folder_name in folder_names.iter().rev() {
        for folder in folders {
            let folder = folder.join(folder_name);
            for file in names_in(&folder) {
                if Path::new(&file).extension().is_some_and(|end| end == "conf") {
                    found.entry(file.clone()).or_insert_with(|| folder.join(file));
                }
            }
        }
    }
    found.into_values().collect()
}

fn names_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Reads a socket unit with its drop-ins behind it; `None` where it listens on no network.
fn parse(name: &str, text: &str) -> Option<SocketUnit> {
    let stem = name.strip_suffix(".socket")?;
    let instance = stem.split_once('@').map_or("", |(_, instance)| instance);
    let mut section = "";
    let mut streams = Vec::new();
    let mut datagrams = Vec::new();
    let mut service = None;
    let mut accept = false;
    let mut other_protocol = None;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        if section != "[Socket]" || line.starts_with(['#', ';']) {
            continue;
        }
        let value = value.trim().replace("%i", instance).replace("%I", instance);
        match key.trim() {
            // An empty value takes all before it back.
            "ListenStream" | "ListenDatagram" | "ListenSequentialPacket" | "ListenFIFO"
                if value.is_empty() =>
            {
                streams.clear();
                datagrams.clear();
            }
            "ListenStream" => streams.extend(address(&value)),
            "ListenDatagram" => datagrams.extend(address(&value)),
            "Service" => service = Some(value),
            "Accept" => accept = matches!(value.as_str(), "yes" | "true" | "on" | "1"),
            "SocketProtocol" => other_protocol = value.parse::<Protocol>().ok(),
            _ => {}
        }
    }
    let listen = |protocol: Protocol| {
        let protocol = other_protocol.unwrap_or(protocol);
        move |(address, port)| Listen { protocol, address, port }
    };
    let listens: Vec<Listen> = streams
        .into_iter()
        .map(listen(Protocol::TCP))
        .chain(datagrams.into_iter().map(listen(Protocol::UDP)))
        .collect();
    let service = service.filter(|name| !name.is_empty()).unwrap_or_else(|| {
        if accept { format!("{stem}@.service") } else { format!("{stem}.service") }
    });
    (!listens.is_empty()).then_some(SocketUnit { service, listens, active: false })
}

/// `22`, `192.0.2.1:22`, `[2001:db8::1]:22`, with a scope (`%eth0`) in the brackets or behind;
/// `None` for paths and others.
fn address(value: &str) -> Option<(Option<IpAddr>, u16)> {
    if let Ok(port) = value.parse::<u16>() {
        return Some((None, port));
    }
    let plain = match value.split_once('%') {
        Some((before, scope)) => {
            format!("{before}{}", scope.find(']').map_or("", |end| &scope[end..]))
        }
        None => value.to_owned(),
    };
    let address: SocketAddr = plain.parse().ok()?;
    let ip = Some(address.ip()).filter(|ip| !ip.is_unspecified());
    Some((ip, address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("has one")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("valid")
    }

    #[test]
    fn services_are_found_with_drop_ins_aliases_and_generators() {
        let root = tempfile::tempdir().expect("a folder");
        let root = root.path();
        put(
            root,
            "usr/lib/systemd/system/ssh.socket",
            "[Unit]\nBefore=sockets.target\n[Socket]\nListenStream=22\nAccept=no\n",
        );
        // What Ubuntu's generator writes for `Port 2222` of sshd_config.
        put(
            root,
            "run/systemd/generator/ssh.socket.d/addresses.conf",
            "[Socket]\nListenStream=\nListenStream=0.0.0.0:2222\nListenStream=[::]:2222\n",
        );
        put(
            root,
            "usr/lib/systemd/system/mariadb.socket",
            "[Socket]\n# ListenStream=1\nListenStream=@mariadb\nListenStream=/run/mysqld/mysqld.sock\n\
             ListenStream=192.0.2.1:3306\nListenStream=[2001:db8::1]:3306\n",
        );
        put(root, "etc/systemd/system/echo.socket", "[Socket]\nListenStream=7\nAccept=yes\n");
        put(
            root,
            "etc/systemd/system/dns.socket",
            "[Socket]\nListenDatagram=127.0.0.1:53\nService=resolver.service\n",
        );
        put(root, "usr/lib/systemd/system/old.socket", "[Socket]\nListenStream=9999\n");
        std::os::unix::fs::symlink("/dev/null", root.join("etc/systemd/system/old.socket"))
            .expect("masked");
        std::os::unix::fs::symlink("ssh.socket", root.join("usr/lib/systemd/system/sshd.socket"))
            .expect("alias");
        let units = SocketUnits::read(root);
        let tcp = |address: &str| units.service(Protocol::TCP, at(address));
        assert_eq!(tcp("[::]:2222"), Some("ssh.service"));
        assert_eq!(tcp("0.0.0.0:2222"), Some("ssh.service"));
        assert_eq!(tcp("[::]:22"), None, "the drop-in took it back");
        assert_eq!(tcp("192.0.2.1:3306"), Some("mariadb.service"));
        assert_eq!(tcp("[2001:db8::1]:3306"), Some("mariadb.service"));
        assert_eq!(tcp("0.0.0.0:3306"), None);
        assert_eq!(tcp("[::]:7"), Some("echo@.service"));
        assert_eq!(tcp("[::]:9999"), None, "masked");
        assert_eq!(units.service(Protocol::UDP, at("127.0.0.1:53")), Some("resolver.service"));
        assert_eq!(tcp("127.0.0.1:53"), None);
    }

    #[test]
    fn an_active_unit_is_preferred_and_instances_are_known() {
        let root = tempfile::tempdir().expect("a folder");
        let root = root.path();
        put(root, "etc/systemd/system/a.socket", "[Socket]\nListenStream=80\n");
        put(root, "etc/systemd/system/b.socket", "[Socket]\nListenStream=80\n");
        put(root, "run/systemd/units/invocation:b.socket", "");
        put(root, "etc/systemd/system/port@.socket", "[Socket]\nListenStream=%i\n");
        put(root, "etc/systemd/system/sockets.target.wants/port@81.socket", "");
        let units = SocketUnits::read(root);
        assert_eq!(units.service(Protocol::TCP, at("[::]:80")), Some("b.service"));
        assert_eq!(units.service(Protocol::TCP, at("[::]:81")), Some("port@81.service"));
    }
}
