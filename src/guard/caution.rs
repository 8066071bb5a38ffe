//! What holds, and whoever applies a plan should know all the same.

use super::Cause;
use crate::model::{PortSpec, Prefix};
use std::net::IpAddr;

/// A way in that stays open, with a but.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caution {
    /// It is open only so often.
    Limited {
        /// From where.
        from: String,
        /// The port.
        port: PortSpec,
        /// The rates.
        rates: Vec<String>,
    },
    /// It is open to the address that the client has today, and not to those around it.
    OneAddress {
        /// The address.
        source: IpAddr,
        /// All that is let in around it.
        within: Prefix,
        /// The port.
        port: PortSpec,
    },
    /// It is closed, and was closed before.
    ClosedBefore {
        /// From where.
        from: String,
        /// The port.
        port: PortSpec,
        /// By whom.
        cause: Cause,
    },
    /// The session comes by a VPN that connects out by itself.
    ConnectsOut {
        /// The client.
        source: IpAddr,
        /// The program.
        program: String,
    },
    /// There is neither a session nor an sshd.
    NoSsh,
}

impl Caution {
    /// In a sentence or two.
    pub fn message(&self) -> String {
        match self {
            Self::Limited { from, port, rates } => {
                format!("{from} gets in on {port} at a limited rate only ({})", rates.join(" and "))
            }
            Self::OneAddress { source, within, port } => format!(
                "on {port}, {within} is let in and nothing around it: if {source} is another \
                 address tomorrow, it stays outside"
            ),
            Self::ClosedBefore { from, port, cause } => {
                format!("{from} cannot reach sshd on {port}, now or afterwards: {cause}")
            }
            Self::ConnectsOut { source, program } => format!(
                "the SSH session from {source} comes by {program}, which connects out by itself: \
                 the way there is not proved"
            ),
            Self::NoSsh => "there is no SSH session and no sshd here: nothing had to be proved \
                            about a way in"
                .to_owned(),
        }
    }
}
