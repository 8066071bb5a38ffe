//! Names of zones and sets.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The name of a zone, set or service: a letter, then letters, digits, `-` and `_`; 32 bytes at
/// most, so that names made of it still fit into nftables' own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ZoneName(String);

/// A text that is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no name: a letter, then at most 31 letters, digits, `-` or `_`")]
pub struct NameError(pub String);

impl ZoneName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ZoneName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let letter_first = text.starts_with(|c: char| c.is_ascii_alphabetic());
        let rest = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if letter_first && rest && text.len() <= 32 {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError(text.to_owned()))
        }
    }
}

impl TryFrom<String> for ZoneName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<ZoneName> for String {
    fn from(name: ZoneName) -> Self {
        name.0
    }
}

impl fmt::Display for ZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A zone that a policy can speak of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "ZoneName", into = "String")]
pub enum ZoneRef {
    /// Every source that no declared or other built-in zone holds.
    Internet,
    /// What comes in by a container engine's interface.
    Containers,
    /// The host itself.
    Host,
    /// A zone that the policy declares.
    Declared(ZoneName),
}

impl ZoneRef {
    /// The names that no declared zone may take.
    pub const BUILT_IN: [&str; 3] = ["internet", "containers", "host"];
}

impl From<ZoneName> for ZoneRef {
    fn from(name: ZoneName) -> Self {
        match name.as_str() {
            "internet" => Self::Internet,
            "containers" => Self::Containers,
            "host" => Self::Host,
            _ => Self::Declared(name),
        }
    }
}

impl From<ZoneRef> for String {
    fn from(zone: ZoneRef) -> Self {
        zone.to_string()
    }
}

impl fmt::Display for ZoneRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Internet => "internet",
            Self::Containers => "containers",
            Self::Host => "host",
            Self::Declared(name) => name.as_str(),
        })
    }
}
