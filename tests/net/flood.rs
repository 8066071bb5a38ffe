//! Questions asked without pause while something happens: was a port open for even a moment?

use super::Namespace;
use super::probe::{Answer, tcp_within};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

/// Probes that run until they are stopped.
#[derive(Debug)]
pub struct Flood<'scope> {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    threads: Vec<(String, ScopedJoinHandle<'scope, usize>)>,
}

/// What a flood saw.
#[derive(Debug, PartialEq, Eq)]
pub struct Flooded {
    /// How many connections were tried.
    pub asked: usize,
    /// The targets that were open at least once, with how often.
    pub open: Vec<(String, usize)>,
}

/// How long one question waits. An open port answers over a virtual link in well under this.
const MOMENT: Duration = Duration::from_millis(10);

impl<'scope> Flood<'scope> {
    /// Dials each target from its namespace again and again, every 10 ms, each time from a new
    /// port.
    pub fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        targets: &[(&'env Namespace, SocketAddr)],
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(AtomicUsize::new(0));
        let threads = targets
            .iter()
            .map(|&(from, to)| {
                let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
                let label = from.name().rsplit('-').next().unwrap_or_default();
                let thread = scope.spawn(move || {
                    from.enter(|| {
                        let mut open = 0;
                        while !stop.load(Ordering::Relaxed) {
                            match tcp_within(None, to, MOMENT) {
                                Ok(_) => open += 1,
                                Err(error) if Answer::of(&error) == Answer::Silent => {}
                                // A reset comes at once.
                                Err(_) => std::thread::sleep(MOMENT),
                            }
                            asked.fetch_add(1, Ordering::Relaxed);
                        }
                        open
                    })
                });
                (format!("{label} -> {to}"), thread)
            })
            .collect();
        Self { stop, asked, threads }
    }

    /// Ends it.
    pub fn stop(self) -> Flooded {
        self.stop.store(true, Ordering::Relaxed);
        let open = self
            .threads
            .into_iter()
            .map(|(target, thread)| (target, thread.join().unwrap()))
            .filter(|(_, open)| *open > 0)
            .collect();
        Flooded { asked: self.asked.load(Ordering::Relaxed), open }
    }
}
