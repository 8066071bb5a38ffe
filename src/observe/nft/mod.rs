//! The kernel's nftables ruleset → [`Ruleset`], over nfnetlink.
//!
//! The kernel's own bytecode is read, not what some version of nft says of it: it is whole, the
//! same with every nft, and an order of magnitude faster. Reading changes nothing, needs
//! `CAP_NET_ADMIN` in the network namespace of the calling thread, and is consistent: the
//! generation id is compared before and after, and a moved one means to read again.
//!
//! What is not known is kept as opaque with its name. No bytes lead to a panic.

mod attr;
mod continuity;
mod elements;
mod events;
mod expression;
mod keys;
mod nat;
mod objects;
mod other;
mod registers;
mod simple;
mod socket;
pub mod stored;
mod uapi;
pub(in crate::observe) mod xt;

pub use events::{Lost, TableEvents};
pub(in crate::observe) use objects::{family, family_number};

use crate::model::nft::{Element, Elements, Family, Ruleset, Table};
use attr::{Messages, push};
use foldhash::HashMap;
use nix::libc;
use serde::{Deserialize, Serialize};
use socket::{Ended, Nfnetlink};
use std::io;
use std::time::Duration;
use uapi::message;

/// How often a ruleset that changes while it is read is read again.
const ATTEMPTS: u32 = 20;

/// Why the ruleset could not be read.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// No socket.
    #[error("the nfnetlink socket cannot be opened: {0}")]
    Socket(#[source] io::Error),
    /// Not root.
    #[error("reading the nftables ruleset needs root (CAP_NET_ADMIN): run fwctl with sudo")]
    Denied,
    /// A kernel without nf_tables.
    #[error("this kernel has no nf_tables: load the module with `modprobe nf_tables`")]
    Unsupported,
    /// The kernel refused, or the socket failed.
    #[error("the kernel did not list the nftables {what}: {source}")]
    Refused {
        /// Of what.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A message was longer than the buffer, or broken.
    #[error("the kernel's list of nftables {what} was cut short; run the command again")]
    Truncated {
        /// Of what.
        what: &'static str,
    },
    /// The ruleset never held still.
    #[error(
        "the nftables ruleset changed under each of {ATTEMPTS} attempts to read it; \
         find what keeps changing it (`nft monitor`), then run the command again"
    )]
    Restless,
}

impl NftError {
    fn from_io(what: &'static str, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::Denied,
            Some(libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::EINVAL)
                if what == "generation" =>
            {
                Self::Unsupported
            }
            _ => Self::Refused { what, source },
        }
    }
}

/// How much is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'c> {
    /// Sets with more elements than this are left [`Elements::NotListed`]; `None` for no bound.
    /// Intervals may count twice, as the kernel keeps their ends as elements.
    pub max_elements: Option<usize>,
    /// What was read earlier in the same network namespace, since the same boot. Sets in it are
    /// not dumped again while the generation id is the same.
    pub cache: Option<&'c SetCache>,
}

/// The contents of large sets at one generation of the ruleset.
///
/// A generation id is unique in one network namespace, from boot to boot: whoever keeps the cache
/// on disk drops it when either is another one. Sets that change without a transaction (dynamic
/// ones, and those with timeouts) are never in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetCache {
    generation: u32,
    sets: Vec<CachedSet>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct CachedSet {
    family: Family,
    table: String,
    handle: u64,
    elements: Vec<Element>,
}

impl SetCache {
    /// Takes the sets that have at least so many elements out of what has just been read.
    pub fn of(ruleset: &Ruleset, at_least: usize) -> Self {
        let mut sets = Vec::new();
        for table in &ruleset.tables {
            for set in &table.sets {
                let still = !set.flags.dynamic && !set.flags.timeout;
                if let Elements::Listed(elements) = &set.elements
                    && still
                    && elements.len() >= at_least
                {
                    sets.push(CachedSet {
                        family: table.family,
                        table: table.name.clone(),
                        handle: set.handle,
                        elements: elements.clone(),
                    });
                }
            }
        }
        Self { generation: ruleset.generation, sets }
    }

    /// Whether no set is in it.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// The generation id at which the sets were read.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    fn get(&self, family: Family, table: &str, handle: u64) -> Option<&[Element]> {
        let found = self
            .sets
            .iter()
            .find(|set| set.family == family && set.table == table && set.handle == handle)?;
        Some(&found.elements)
    }
}

/// The generation id of the ruleset; it moves with every transaction. Takes about 0.1 ms.
pub fn generation() -> Result<u32, NftError> {
    generation_of(&mut Nfnetlink::open()?)
}

fn generation_of(socket: &mut Nfnetlink) -> Result<u32, NftError> {
    const NFTA_GEN_ID: u16 = 1;
    let answer = socket.ask("generation", message::GETGEN)?;
    let id = Messages(&answer)
        .find(|found| found.kind.to_le_bytes()[0] == message::NEWGEN)
        .and_then(|found| found.attributes().be32(NFTA_GEN_ID));
    id.ok_or(NftError::Truncated { what: "generation" })
}

/// Reads the ruleset of the calling thread's network namespace.
pub fn read(options: Options) -> Result<Ruleset, NftError> {
    consistent(None, options)
}

/// Reads one table; `None` where there is no such table.
pub fn read_table(family: Family, name: &str) -> Result<Option<Table>, NftError> {
    one_table(family, name, Options::default())
}

/// Reads one table without what its sets hold, which takes the kernel the longest.
pub fn read_rules(family: Family, name: &str) -> Result<Option<Table>, NftError> {
    one_table(family, name, Options { max_elements: Some(0), ..Options::default() })
}

fn one_table(family: Family, name: &str, options: Options) -> Result<Option<Table>, NftError> {
    let mut ruleset = consistent(Some((family, name)), options)?;
    ruleset.tables.retain(|table| table.family == family && table.name == name);
    Ok(ruleset.tables.pop())
}

/// A dump as the kernel sent it, for tests and for bug reports: messages one behind the other.
pub fn dump() -> Result<(u32, Vec<u8>), NftError> {
    let raw = attempt_until_still(None, Options::default())?;
    Ok((raw.generation, raw.messages))
}

/// Decodes what [`dump`] gave, or any other bytes.
pub fn decode(generation: u32, messages: &[u8]) -> Ruleset {
    objects::ruleset(generation, messages)
}

/// Everything that one reading yields.
struct Dump {
    generation: u32,
    messages: Vec<u8>,
    /// Sets that were not dumped because the cache has them.
    cached: Vec<(Family, String, u64)>,
    /// Sets that are too large.
    too_large: HashMap<(Family, String, u64), String>,
}

fn consistent(only: Option<(Family, &str)>, options: Options) -> Result<Ruleset, NftError> {
    let dump = attempt_until_still(only, options)?;
    let mut ruleset = objects::ruleset(dump.generation, &dump.messages);
    for table in &mut ruleset.tables {
        for set in &mut table.sets {
            let key = (table.family, table.name.clone(), set.handle);
            if let Some(reason) = dump.too_large.get(&key) {
                set.elements = Elements::NotListed { reason: reason.clone() };
            } else if dump.cached.contains(&key)
                && let Some(known) = options.cache.and_then(|cache| cache.get(key.0, &key.1, key.2))
            {
                set.elements = Elements::Listed(known.to_vec());
            }
        }
    }
    Ok(ruleset)
}

fn attempt_until_still(only: Option<(Family, &str)>, options: Options) -> Result<Dump, NftError> {
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            // Somebody is in the middle of several transactions: let them finish.
            std::thread::sleep(Duration::from_millis(u64::from(attempt).min(10)));
        }
        if let Some(dump) = attempt_once(only, options)? {
            return Ok(dump);
        }
    }
    Err(NftError::Restless)
}

/// One reading; `None` if the ruleset changed meanwhile.
fn attempt_once(only: Option<(Family, &str)>, options: Options) -> Result<Option<Dump>, NftError> {
    let mut socket = Nfnetlink::open()?;
    let generation = generation_of(&mut socket)?;
    let mut messages = Vec::new();
    let family = only.map_or(0, |(family, _)| objects::family_number(family));
    // Attribute 1 is the table's name in every request; the kernel ignores it where it cannot
    // filter by it.
    let mut filter = Vec::new();
    if let Some((_, name)) = only {
        push(&mut filter, 1, &[name.as_bytes(), b"\0"].concat());
    }
    let none = Vec::new();
    let steps = [
        // The dump of tables takes no name: the request for one table would be no dump.
        ("tables", message::GETTABLE, &none),
        ("chains", message::GETCHAIN, &none),
        ("sets", message::GETSET, &filter),
        ("rules", message::GETRULE, &filter),
        ("objects", message::GETOBJ, &filter),
        ("flowtables", message::GETFLOWTABLE, &filter),
    ];
    for (what, kind, filter) in steps {
        let taken = socket.dump(what, kind, family, filter, |message| {
            messages.extend_from_slice(message);
            messages.resize(messages.len().next_multiple_of(4), 0);
            true
        });
        match taken {
            Ok(Ended::Interrupted) => return Ok(None),
            Ok(Ended::Whole | Ended::Stopped) => {}
            // The table of the filter is not there.
            Err(NftError::Refused { source, .. })
                if only.is_some() && source.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
    if !continuity::unbroken(&messages) {
        return Ok(None);
    }
    let mut dump = Dump { generation, messages, cached: Vec::new(), too_large: HashMap::default() };
    if !dump_elements(&mut socket, only, options, &mut dump)? {
        return Ok(None);
    }
    // After a stopped dump this may be another socket: the generation is the namespace's.
    let still = generation_of(&mut socket)? == generation;
    Ok(still.then_some(dump))
}

/// Dumps the elements of every set in the dump; false if the ruleset changed meanwhile.
fn dump_elements(
    socket: &mut Nfnetlink,
    only: Option<(Family, &str)>,
    options: Options,
    dump: &mut Dump,
) -> Result<bool, NftError> {
    let cache = options.cache.filter(|cache| cache.generation == dump.generation);
    let bound = options.max_elements.unwrap_or(usize::MAX);
    for listed in objects::sets(&dump.messages) {
        let wanted =
            only.is_none_or(|(family, name)| family == listed.family && name == listed.table);
        if !wanted {
            continue;
        }
        let key = (listed.family, listed.table.clone(), listed.handle);
        if cache.is_some_and(|cache| cache.get(key.0, &key.1, key.2).is_some()) {
            dump.cached.push(key);
            continue;
        }
        if let Some(count) = listed.count.filter(|count| *count as usize > bound) {
            dump.too_large.insert(key, format!("it has {count} elements"));
            continue;
        }
        let mut request = Vec::new();
        push(&mut request, 1, &[listed.table.as_bytes(), b"\0"].concat());
        push(&mut request, 2, &[listed.name.as_bytes(), b"\0"].concat());
        let before = dump.messages.len();
        let mut count = 0;
        let number = objects::family_number(listed.family);
        let messages = &mut dump.messages;
        let taken = socket.dump("elements", message::GETSETELEM, number, &request, |message| {
            count += objects::count_elements(message);
            messages.extend_from_slice(message);
            messages.resize(messages.len().next_multiple_of(4), 0);
            count <= bound
        });
        match taken {
            Ok(Ended::Whole) => {}
            Ok(Ended::Interrupted) => return Ok(false),
            Ok(Ended::Stopped) => {
                dump.messages.truncate(before);
                dump.too_large.insert(key, format!("it has more than {bound} elements"));
                *socket = Nfnetlink::open()?;
            }
            // It was deleted after the list of sets was read.
            Err(NftError::Refused { source, .. })
                if source.raw_os_error() == Some(libc::ENOENT) =>
            {
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
