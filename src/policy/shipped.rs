//! What fwctl brings along: the shipped policies and the services table, as text.

/// The directories in which `use` looks before it takes what is built in.
pub(crate) const DIRECTORIES: [&str; 2] = ["/etc/fwctl/policies", "/usr/share/fwctl/policies"];

/// The table of well-known services.
pub const SERVICES: &str = include_str!("services.toml");

/// The shipped policies by name, sorted.
pub const POLICIES: [(&str, &str); 5] = [
    ("chatalot", include_str!("../../policies/chatalot.toml")),
    ("chatalot-direct", include_str!("../../policies/chatalot-direct.toml")),
    ("ssh-only", include_str!("../../policies/ssh-only.toml")),
    ("tether", include_str!("../../policies/tether.toml")),
    ("web-server", include_str!("../../policies/web-server.toml")),
];

/// The text of a shipped policy.
pub(crate) fn text(name: &str) -> Option<&'static str> {
    POLICIES.iter().find(|(own, _)| *own == name).map(|(_, text)| *text)
}
