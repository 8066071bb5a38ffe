//! Questions asked with real packets, and what came back.

use super::Namespace;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, ipproto, socket_with};
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// How long a probe waits before it calls the other side silent. A TCP SYN is sent twice in that
/// time.
pub const PATIENCE: Duration = Duration::from_millis(1500);

/// What a probe saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A connection, a reply.
    Open,
    /// A reset, or ICMP port unreachable.
    Refused,
    /// Another ICMP error, or no route.
    Unreachable,
    /// Nothing at all.
    Silent,
}

/// One question from a namespace.
#[derive(Debug, Clone)]
pub struct Probe<'a> {
    from: &'a Namespace,
    source: Option<IpAddr>,
    to: SocketAddr,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tcp,
    Udp,
    Ping,
}

impl<'a> Probe<'a> {
    /// Opens a TCP connection.
    pub fn tcp(from: &'a Namespace, to: impl Into<SocketAddr>) -> Self {
        Self { from, source: None, to: to.into(), kind: Kind::Tcp }
    }

    /// Sends a datagram and waits for one.
    pub fn udp(from: &'a Namespace, to: impl Into<SocketAddr>) -> Self {
        Self { from, source: None, to: to.into(), kind: Kind::Udp }
    }

    /// Sends an ICMP echo request.
    pub fn ping(from: &'a Namespace, to: IpAddr) -> Self {
        Self { from, source: None, to: (to, 0).into(), kind: Kind::Ping }
    }

    /// Speaks from this address of the namespace.
    #[must_use]
    pub fn source(mut self, source: IpAddr) -> Self {
        self.source = Some(source);
        self
    }

    /// Asks.
    pub fn ask(&self) -> Answer {
        let asked = match self.kind {
            Kind::Tcp => tcp_from(self.from, self.source, self.to).map(drop),
            Kind::Udp => self.datagram(SocketType::DGRAM, None, b"probe").map(drop),
            Kind::Ping => self.echo_request(),
        };
        match asked {
            Ok(()) => Answer::Open,
            Err(error) => Answer::of(&error),
        }
    }

    /// ICMP sockets of the kernel: it fills in the identifier and the checksum.
    fn echo_request(&self) -> io::Result<()> {
        let (protocol, request) =
            if self.to.is_ipv4() { (ipproto::ICMP, 8) } else { (ipproto::ICMPV6, 128) };
        let packet = [request, 0, 0, 0, 0, 0, 0, 1, b'p', b'i', b'n', b'g'];
        let reply = self.datagram(SocketType::DGRAM, Some(protocol), &packet)?;
        let expected = if self.to.is_ipv4() { 0 } else { 129 };
        assert_eq!(reply.first(), Some(&expected), "{self} was answered with something else");
        Ok(())
    }

    fn datagram(
        &self,
        kind: SocketType,
        protocol: Option<rustix::net::Protocol>,
        payload: &[u8],
    ) -> io::Result<Vec<u8>> {
        self.from.enter(|| {
            let fd = socket_with(family(&self.to), kind, SocketFlags::CLOEXEC, protocol)?;
            if let Some(source) = self.source {
                bind(&fd, &SocketAddr::new(source, 0))?;
            }
            connect(&fd, &self.to)?;
            let socket = UdpSocket::from(fd);
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.send(payload)?;
            let mut buffer = [0; 2048];
            let length = socket.recv(&mut buffer)?;
            Ok(buffer[..length].to_vec())
        })
    }
}

impl fmt::Display for Probe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self.from.name().rsplit('-').next().unwrap_or_default();
        let source = self.source.map(|source| format!(" ({source})")).unwrap_or_default();
        match self.kind {
            Kind::Tcp => write!(f, "{from}{source} -> tcp {}", self.to),
            Kind::Udp => write!(f, "{from}{source} -> udp {}", self.to),
            Kind::Ping => write!(f, "{from}{source} -> ping {}", self.to.ip()),
        }
    }
}

impl Answer {
    /// What an error of `connect` or `recv` tells.
    pub fn of(error: &io::Error) -> Self {
        if rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::INPROGRESS) {
            return Self::Silent;
        }
        match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Self::Refused,
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::Silent,
            ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::PermissionDenied => Self::Unreachable,
            _ => panic!("a probe failed by itself: {error} ({:?})", error.kind()),
        }
    }
}

/// Opens a TCP connection from a namespace and gives it.
pub fn tcp_stream(from: &Namespace, to: impl Into<SocketAddr>) -> io::Result<TcpStream> {
    tcp_from(from, None, to.into())
}

/// Opens a TCP connection from an address of a namespace and gives it.
pub fn tcp_from(from: &Namespace, source: Option<IpAddr>, to: SocketAddr) -> io::Result<TcpStream> {
    from.enter(|| tcp_within(source, to, PATIENCE))
}

/// Opens a TCP connection from the calling thread's namespace, where it answers within the time.
pub fn tcp_within(
    source: Option<IpAddr>,
    to: SocketAddr,
    patience: Duration,
) -> io::Result<TcpStream> {
    let fd = socket_with(family(&to), SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    if let Some(source) = source {
        bind(&fd, &SocketAddr::new(source, 0))?;
    }
    // Linux bounds connect(2) by the send timeout (socket(7)); it then fails as in progress.
    set_socket_timeout(&fd, Timeout::Send, Some(patience))?;
    connect(&fd, &to)?;
    Ok(TcpStream::from(fd))
}

fn family(address: &SocketAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
}

/// Asks all at once; the answers come in the order of the probes.
pub fn observe(probes: &[Probe]) -> Vec<Answer> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = probes.iter().map(|probe| scope.spawn(|| probe.ask())).collect();
        asked.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Asks all at once and panics with every answer that was not the expected one.
///
/// A service that only starts to listen is given two seconds: probes that should have been open
/// are asked again.
pub fn expect(expected: &[(Probe, Answer)]) {
    let end = Instant::now() + Duration::from_secs(2);
    let mut wrong: Vec<(&Probe, Answer, Answer)> = Vec::new();
    let probes: Vec<Probe> = expected.iter().map(|(probe, _)| probe.clone()).collect();
    for ((probe, wanted), seen) in expected.iter().zip(observe(&probes)) {
        let mut seen = seen;
        while *wanted == Answer::Open && seen != Answer::Open && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(50));
            seen = probe.ask();
        }
        if seen != *wanted {
            wrong.push((probe, *wanted, seen));
        }
    }
    let lines: Vec<String> = wrong
        .iter()
        .map(|(probe, wanted, seen)| format!("  {probe}: expected {wanted:?}, saw {seen:?}"))
        .collect();
    assert!(
        lines.is_empty(),
        "{} of {} probes:\n{}",
        lines.len(),
        expected.len(),
        lines.join("\n")
    );
}

/// Sends one datagram, also to a broadcast or multicast address, out of `device`; waits for no
/// answer.
pub fn send_udp(from: &Namespace, to: &str, device: &str) {
    let mut to: SocketAddr = to.parse().unwrap();
    from.enter(|| {
        let unspecified = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(unspecified).unwrap();
        socket.set_broadcast(true).unwrap();
        if let SocketAddr::V6(v6) = &mut to {
            v6.set_scope_id(super::listen::interface_index(device));
        }
        socket.send_to(b"probe", to).unwrap();
    });
}
