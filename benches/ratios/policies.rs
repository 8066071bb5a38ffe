//! The policies that are measured, small and large.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// SSH, HTTP and HTTPS open to all, databases closed: five ports and a default.
pub const SMALL: &str = "version = 1\n\
    [[allow]]\nservice = [\"ssh\", \"http\", \"https\"]\n\
    [[deny]]\nports = [\"3306/tcp\", \"5432/tcp\"]\nfrom = [\"internet\"]\n";

/// The same, and PostgreSQL for so many prefixes, no two of which can be merged.
pub fn prefixes(count: u32) -> String {
    let mut text = format!(
        "{SMALL}[[allow]]\nports = [\"5433/tcp\"]\nfrom = [\"@known\"]\n[set.known]\naddresses = [\n"
    );
    for number in 0..count {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + number * 32);
        let _ = writeln!(text, "\"{address}/28\",");
    }
    text.push_str("\"203.0.113.1\"]\n");
    text
}

/// So many allows, each of a port of its own for a source of its own.
pub fn rules(count: u32) -> String {
    let mut text = SMALL.to_owned();
    for number in 0..count {
        let address = std::net::Ipv4Addr::from(0xc612_0000 + number);
        let _ = writeln!(
            text,
            "[[allow]]\nports = [\"{}/tcp\"]\nfrom = [\"{address}\"]",
            10_000 + number
        );
    }
    text
}

/// Writes a policy below a root, as `/etc/fwctl/NAME`.
pub fn write(root: &Path, name: &str, text: &str) -> PathBuf {
    let directory = root.join("etc/fwctl");
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Reads a policy that must be sound.
pub fn load(root: &Path, path: &Path) -> fwctl::policy::Policy {
    let files = fwctl::policy::RealFiles::new(Some(root.to_owned()));
    let loaded = fwctl::policy::load(&files, path);
    loaded.unwrap_or_else(|errors| panic!("{errors:?}")).policy
}
