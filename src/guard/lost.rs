//! A way in that would be closed, or is not known to stay open.

use super::mend;
use crate::analyze::Decider;
use crate::model::{IfaceName, PortSpec};
use crate::policy::Origin;
use std::net::SocketAddr;

/// A way in that would be lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// What could not be reached.
    pub what: What,
    /// From where, in the policy's words; an address of a link is written `fe80::1%eth0`.
    pub from: String,
    /// The port that is dialled.
    pub port: PortSpec,
    /// A packet that shows it, in words.
    pub witness: Option<String>,
    /// Why.
    pub cause: Cause,
}

/// What could not be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A live SSH session could not be opened anew.
    Session {
        /// The client.
        remote: SocketAddr,
        /// The address and port that it dialled.
        dialled: SocketAddr,
        /// Whether fwctl runs in it.
        own: bool,
        /// The user, where known.
        user: Option<String>,
    },
    /// A live SSH session would be cut.
    Running {
        /// The client.
        remote: SocketAddr,
        /// Whether fwctl runs in it.
        own: bool,
    },
    /// A port on which sshd listens could not be dialled.
    Listener(SocketAddr),
    /// Something that `guard.keep` names could not be dialled.
    Keep,
    /// The VPN by whose interface a live SSH session comes could not be reached.
    Tunnel {
        /// The interface.
        interface: IfaceName,
        /// The client of the session.
        remote: SocketAddr,
    },
    /// The other end of IPsec, by which a live SSH session comes, could not reach the host.
    Ipsec {
        /// The client of the session.
        remote: SocketAddr,
    },
    /// A mosh session could not be reached.
    Mosh,
}

impl What {
    /// A stable word for programs.
    pub(super) fn id(&self) -> &'static str {
        match self {
            Self::Session { .. } => "session",
            Self::Running { .. } => "running-session",
            Self::Listener(_) => "sshd",
            Self::Keep => "keep",
            Self::Tunnel { .. } | Self::Ipsec { .. } => "vpn",
            Self::Mosh => "mosh",
        }
    }
}

/// Why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// No rule of the policy allows it.
    NoRule,
    /// These denies keep it out.
    Denied(Vec<Origin>),
    /// A rule of somebody else keeps it out.
    Neighbour {
        /// The rule.
        rule: Decider,
        /// The program that manages it, as far as that is seen.
        manager: Option<&'static str>,
    },
    /// The host itself does not take it there.
    Host(String),
    /// It depends on these, which are not known.
    Unclear(Vec<String>),
    /// It comes from the host itself, so that nobody knows what lies behind it.
    FromTheHost,
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoRule => f.write_str("no rule allows it"),
            Self::Denied(origins) => {
                let origins: Vec<String> = origins.iter().map(ToString::to_string).collect();
                write!(f, "denied by {}", origins.join(", "))
            }
            Self::Neighbour { rule, .. } => {
                write!(f, "a rule that is not fwctl's keeps it out: {rule}")
            }
            Self::Host(why) => write!(f, "the host does not take it there: {why}"),
            Self::Unclear(names) => {
                write!(f, "that depends on {}, which is not known", names.join(" and "))
            }
            Self::FromTheHost => f.write_str(
                "it comes from this host itself (a tunnel such as cloudflared or `ssh -R`, or SSH \
                 from here to here), and the way behind that is not known",
            ),
        }
    }
}

impl Lost {
    /// What would be lost, in a sentence.
    pub fn message(&self) -> String {
        let example = self.witness.as_ref().map(|own| format!(" (for example {own})"));
        let example = example.unwrap_or_default();
        let whose = |own: bool| if own { "your own SSH session" } else { "a live SSH session" };
        match &self.what {
            What::Session { remote, dialled, own, user } => {
                let user = user.as_ref().map(|user| format!(" of {user}")).unwrap_or_default();
                format!(
                    "{}{user} from {} to port {} could not be opened again: {}",
                    whose(*own),
                    remote.ip().to_canonical(),
                    dialled.port(),
                    self.cause
                )
            }
            What::Running { remote, own } => {
                format!("{} from {} would be cut: {}", whose(*own), remote.ip(), self.cause)
            }
            What::Listener(listener) => format!(
                "sshd listens on {listener}, and {}{example} could not reach it: {}",
                self.from, self.cause
            ),
            What::Keep => format!(
                "`guard.keep` names {}, and {}{example} could not reach it: {}",
                self.port, self.from, self.cause
            ),
            What::Tunnel { interface, remote } => format!(
                "a live SSH session from {} comes by {interface}, and the other end of that VPN \
                 could not reach {}: {}",
                remote.ip().to_canonical(),
                self.port,
                self.cause
            ),
            What::Ipsec { remote } => format!(
                "a live SSH session from {} comes by IPsec, and its other end, {}, could not reach \
                 {}: {}",
                remote.ip().to_canonical(),
                self.from,
                self.port,
                self.cause
            ),
            What::Mosh => format!(
                "a mosh session listens on {}, and {}{example} could not reach it: {}",
                self.port, self.from, self.cause
            ),
        }
    }

    /// The TOML to add to the policy, where adding something mends it.
    pub fn fix(&self) -> Option<String> {
        mend::toml(self)
    }

    /// What else there is to do, or what to do where nothing can simply be added.
    pub fn advice(&self) -> Option<String> {
        mend::advice(self)
    }
}
