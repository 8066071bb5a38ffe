//! The vocabulary that every stage shares: ports, prefixes, interfaces, endpoints and the objects
//! of nftables. Imports nothing of ours, has no effects, and every value that exists is valid.

pub mod endpoint;
pub mod iface;
pub mod nft;
pub mod port;
pub mod prefix;
pub mod zone;

pub use endpoint::{Bind, Endpoint, Owner, ServedBy};
pub use iface::{IfaceName, IfacePattern};
pub use port::{PortRange, PortSpec, Protocol};
pub use prefix::{IpFamily, Prefix};
pub use zone::{ZoneName, ZoneRef};
