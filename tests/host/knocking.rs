//! Questions without pause, whatever becomes of the host.

use super::machine::Host;
use crate::net::{HOST_WAN_V4, HOST_WAN_V6};
use std::fs::File;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Dials from the internet without pause, also while the host is off, and counts every answer, a
/// refusal too: a port behind a loaded firewall gives none.
#[derive(Debug)]
pub struct Knocking {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(usize, usize)>,
}

impl Knocking {
    /// Begins.
    pub fn at(host: &Host, port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let file = File::open(host.lab.internet.path()).unwrap();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let (mut asked, mut answered) = (0, 0);
            while !stopped.load(Ordering::Relaxed) {
                for address in [HOST_WAN_V4, HOST_WAN_V6] {
                    let to = SocketAddr::new(address, port);
                    match TcpStream::connect_timeout(&to, Duration::from_millis(20)) {
                        Ok(_) => answered += 1,
                        Err(error) if error.kind() == ErrorKind::ConnectionRefused => answered += 1,
                        // The link is not there while the host is off.
                        Err(_) => std::thread::sleep(Duration::from_millis(2)),
                    }
                    asked += 1;
                }
            }
            (asked, answered)
        });
        Self { stop, thread }
    }

    /// How often it asked, and how often there was an answer.
    pub fn stop(self) -> (usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
