//! `/proc/thread-self/net/sockstat` and `sockstat6` → the kinds of sockets that a network namespace
//! has none of.
//!
//! For each kind that it is asked for the kernel goes through a table of the sockets of all
//! namespaces, and most namespaces of containers have one or two kinds. The kernel counts a socket
//! from when it is bound until it is closed. Where that cannot be read, there may be any.

use crate::model::Protocol;
use crate::observe::short_file;

/// How many sockets of each kind there are, as the kernel says it.
#[derive(Debug, Default)]
pub struct InUse {
    four: Vec<u8>,
    six: Vec<u8>,
}

impl InUse {
    /// Reads the counts of this thread's namespace.
    pub fn read() -> Self {
        let read = |name: &str| {
            short_file::read(format!("/proc/thread-self/net/{name}")).unwrap_or_default()
        };
        Self { four: read("sockstat"), six: read("sockstat6") }
    }

    /// Whether there is no socket of this protocol and IP version.
    pub fn none_of(&self, protocol: Protocol, ipv6: bool) -> bool {
        let (text, version) = if ipv6 { (&self.six, "6") } else { (&self.four, "") };
        let name = match protocol {
            Protocol::TCP => "TCP",
            Protocol::UDP => "UDP",
            Protocol::UDPLITE => "UDPLITE",
            _ => return false,
        };
        let start = format!("{name}{version}: inuse ");
        let line =
            text.split(|byte| *byte == b'\n').find(|line| line.starts_with(start.as_bytes()));
        line.is_some_and(|line| {
            line[start.len()..].split(|byte| *byte == b' ').next() == Some(b"0")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_none_of_is_told_and_what_is_not_known_is_not() {
        let four = "sockets: used 9\nTCP: inuse 0 orphan 0 tw 3 alloc 8 mem 1\nUDP: inuse 4 mem 3\n\
                    UDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n";
        let six = "TCP6: inuse 10\nUDP6: inuse 0\n";
        let counts = InUse { four: four.into(), six: six.into() };
        let kinds = [Protocol::TCP, Protocol::UDP, Protocol::UDPLITE, Protocol::SCTP];
        assert_eq!(kinds.map(|kind| counts.none_of(kind, false)), [true, false, true, false]);
        assert_eq!(kinds.map(|kind| counts.none_of(kind, true)), [false, true, false, false]);
        assert_eq!(kinds.map(|kind| InUse::default().none_of(kind, false)), [false; 4]);
    }

    #[test]
    fn a_socket_of_ours_counts() {
        let _socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("bound");
        assert!(!InUse::read().none_of(Protocol::UDP, false));
    }
}
