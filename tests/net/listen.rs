//! Listeners inside a namespace, each on a thread of its own until it is dropped.

use super::Namespace;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A TCP or UDP service that counts whom it heard.
#[derive(Debug)]
pub struct Listener {
    stop: Arc<AtomicBool>,
    heard: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
    address: SocketAddr,
}

impl Namespace {
    /// Accepts TCP connections and says `hello\n` on each. `[::]:PORT` takes both families; port
    /// 0 takes a free one.
    pub fn listen_tcp(&self, address: &str) -> Listener {
        let listener = self.enter(|| TcpListener::bind(address).unwrap());
        let bound = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        Listener::start(bound, move |heard| {
            // Not by looking again and again, which costs an emulated kernel more than the tests.
            let until_stopped = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
            let _ = poll(&mut [PollFd::new(&listener, PollFlags::IN)], Some(&until_stopped));
            if let Ok((mut stream, _)) = listener.accept() {
                heard.fetch_add(1, Ordering::Relaxed);
                let _ = stream.write_all(b"hello\n");
            }
        })
    }

    /// Sends every datagram back. Where the address is a wildcard, broadcasts are heard as well.
    pub fn listen_udp(&self, address: &str) -> Listener {
        let socket = self.enter(|| UdpSocket::bind(address).unwrap());
        Listener::echo(socket)
    }

    /// Joins a multicast group on an interface (its address for IPv4, its name for IPv6) and sends
    /// every datagram back to its sender.
    pub fn listen_multicast(&self, group: IpAddr, port: u16, interface: &str) -> Listener {
        let socket = self.enter(|| match group {
            IpAddr::V4(group) => {
                let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
                socket.join_multicast_v4(&group, &interface.parse().unwrap()).unwrap();
                socket
            }
            IpAddr::V6(group) => {
                let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap();
                socket.join_multicast_v6(&group, interface_index(interface)).unwrap();
                socket
            }
        });
        Listener::echo(socket)
    }
}

impl Listener {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections or datagrams have come.
    pub fn heard(&self) -> usize {
        self.heard.load(Ordering::Relaxed)
    }

    /// Waits until at least `count` have come; false if they did not within the time.
    pub fn wait_heard(&self, count: usize, within: Duration) -> bool {
        let end = std::time::Instant::now() + within;
        while self.heard() < count && std::time::Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.heard() >= count
    }

    fn echo(socket: UdpSocket) -> Self {
        let bound = socket.local_addr().unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        Self::start(bound, move |heard| {
            let mut buffer = [0; 2048];
            if let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                heard.fetch_add(1, Ordering::Relaxed);
                let _ = socket.send_to(&buffer[..length], peer);
            }
        })
    }

    fn start(address: SocketAddr, mut turn: impl FnMut(&AtomicUsize) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let heard = Arc::new(AtomicUsize::new(0));
        let thread = std::thread::spawn({
            let (stop, heard) = (Arc::clone(&stop), Arc::clone(&heard));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    turn(&heard);
                }
            }
        });
        Self { stop, heard, thread: Some(thread), address }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The index of an interface of the calling thread's namespace.
pub fn interface_index(name: &str) -> u32 {
    let text = std::fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap();
    let line = text.lines().find(|line| line.split_whitespace().last() == Some(name));
    let index = line.and_then(|line| line.split_whitespace().nth(1));
    u32::from_str_radix(index.unwrap_or_else(|| panic!("no interface {name}")), 16).unwrap()
}
