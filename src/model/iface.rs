//! Names of network interfaces, and patterns over them as nftables matches them.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest interface name in bytes: `IFNAMSIZ` (16) less the terminating NUL.
pub const MAX_NAME: usize = 15;

/// A name that is no interface name, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no interface name: {reason}")]
pub struct IfaceError {
    /// The text that was given.
    pub name: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// The name of one interface, as `dev_valid_name()` of the kernel accepts it: 1 to 15 bytes,
/// not `.` or `..`, without `/`, `:` and white space.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IfaceName(Arc<str>);

impl IfaceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IfaceName {
    type Err = IfaceError;

    fn from_str(name: &str) -> Result<Self, IfaceError> {
        let fail = |reason| Err(IfaceError { name: name.to_owned(), reason });
        match name {
            "" => fail("it is empty"),
            "." | ".." => fail("the kernel reserves it"),
            _ if name.len() > MAX_NAME => fail("it is longer than 15 bytes"),
            _ if name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace()) => {
                fail("it holds a slash, a colon or white space")
            }
            _ => Ok(Self(name.into())),
        }
    }
}

impl TryFrom<String> for IfaceName {
    type Error = IfaceError;

    fn try_from(name: String) -> Result<Self, IfaceError> {
        name.parse()
    }
}

impl From<IfaceName> for String {
    fn from(name: IfaceName) -> Self {
        name.as_str().to_owned()
    }
}

impl fmt::Display for IfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One interface, or every interface whose name begins so (written `wg*`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum IfacePattern {
    /// Exactly this interface.
    Exact(IfaceName),
    /// Every interface whose name begins with this text (not empty, no `*` in it).
    StartsWith(String),
}

impl IfacePattern {
    /// Whether an interface of this name is meant.
    pub fn matches(&self, name: &IfaceName) -> bool {
        match self {
            Self::Exact(own) => own == name,
            Self::StartsWith(start) => name.as_str().starts_with(start.as_str()),
        }
    }

    /// Whether every interface that `other` means is meant by this pattern too.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Exact(name)) => self.matches(name),
            (Self::Exact(_), Self::StartsWith(_)) => false,
            (Self::StartsWith(own), Self::StartsWith(theirs)) => theirs.starts_with(own.as_str()),
        }
    }
}

impl FromStr for IfacePattern {
    type Err = IfaceError;

    fn from_str(text: &str) -> Result<Self, IfaceError> {
        let Some(start) = text.strip_suffix('*') else {
            if text.contains('*') {
                let reason = "`*` may stand at the end only";
                return Err(IfaceError { name: text.to_owned(), reason });
            }
            return Ok(Self::Exact(text.parse()?));
        };
        if start.is_empty() || start.contains('*') {
            let reason = "`*` needs a beginning before it, and may stand at the end only";
            return Err(IfaceError { name: text.to_owned(), reason });
        }
        let start: IfaceName = start.parse()?;
        Ok(Self::StartsWith(start.into()))
    }
}

impl TryFrom<String> for IfacePattern {
    type Error = IfaceError;

    fn try_from(text: String) -> Result<Self, IfaceError> {
        text.parse()
    }
}

impl From<IfacePattern> for String {
    fn from(pattern: IfacePattern) -> Self {
        pattern.to_string()
    }
}

impl fmt::Display for IfacePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.pad(name.as_str()),
            Self::StartsWith(start) => f.pad(&format!("{start}*")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_kernel_refuses_are_refused() {
        for bad in ["", ".", "..", "a/b", "a b", "a:b", "sixteen-bytes-xx"] {
            assert!(bad.parse::<IfaceName>().is_err(), "{bad:?} was accepted");
        }
        assert!("fifteen-bytes-x".parse::<IfaceName>().is_ok());
    }

    #[test]
    fn a_pattern_covers_what_it_matches() {
        let wg: IfacePattern = "wg*".parse().expect("valid");
        let wg0: IfacePattern = "wg0".parse().expect("valid");
        let w: IfacePattern = "w*".parse().expect("valid");
        assert!(wg.covers(&wg0) && w.covers(&wg));
        assert!(!wg0.covers(&wg) && !wg.covers(&w));
        assert!("*".parse::<IfacePattern>().is_err() && "a*b".parse::<IfacePattern>().is_err());
    }
}
