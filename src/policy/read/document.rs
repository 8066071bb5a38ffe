//! What one file says, checked by itself: keys, types and values, but no name looked up.

use super::values::Word;
use crate::model::{IfacePattern, PortSpec, Prefix, ZoneName};
use crate::policy::diagnostic::{At, Place};
use crate::policy::{Forwarded, Inbound, Rate};
use std::time::Duration;

/// How far a file is from the policy file: by `use`, then by `include`. What is nearer wins.
pub(crate) type Depth = (usize, usize);

/// One file.
#[derive(Debug)]
pub(crate) struct Document {
    pub depth: Depth,
    pub uses: Vec<At<String>>,
    pub includes: Vec<At<String>>,
    pub default: RawDefaults,
    pub zones: Vec<(At<ZoneName>, RawZone)>,
    pub sets: Vec<(At<ZoneName>, RawSet)>,
    pub services: Vec<(At<ZoneName>, RawService)>,
    pub rules: Vec<RawRule>,
    pub expect: Vec<RawExpectation>,
    pub guard: RawGuard,
}

impl Document {
    pub fn empty() -> Self {
        Self {
            depth: (0, 0),
            uses: Vec::new(),
            includes: Vec::new(),
            default: RawDefaults::default(),
            zones: Vec::new(),
            sets: Vec::new(),
            services: Vec::new(),
            rules: Vec::new(),
            expect: Vec::new(),
            guard: RawGuard::default(),
        }
    }
}

/// `[default]`.
#[derive(Debug, Default)]
pub(crate) struct RawDefaults {
    pub inbound: Option<At<Inbound>>,
    pub forwarded: Option<At<Forwarded>>,
    pub ping: Option<At<bool>>,
    pub log: Option<At<Option<Rate>>>,
}

/// `[zone.NAME]`.
#[derive(Debug)]
pub(crate) struct RawZone {
    pub interfaces: Vec<IfacePattern>,
    pub addresses: Option<Vec<At<Word>>>,
    pub world: bool,
}

/// `[set.NAME]`. The prefixes of its file are added when that is read.
#[derive(Debug)]
pub(crate) struct RawSet {
    pub prefixes: Vec<Prefix>,
    pub file: Option<At<String>>,
}

/// `[service.NAME]`.
#[derive(Debug)]
pub(crate) struct RawService {
    pub ports: Vec<PortSpec>,
    pub members: Vec<At<String>>,
    pub about: Option<String>,
}

/// Which of the two a rule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RuleKind {
    Allow,
    Deny,
}

/// `[[allow]]` or `[[deny]]`.
#[derive(Debug)]
pub(crate) struct RawRule {
    pub kind: RuleKind,
    pub at: Place,
    pub services: Vec<At<String>>,
    pub ports: Vec<At<PortSpec>>,
    pub from: Vec<At<Word>>,
    pub to: Vec<At<RawDestination>>,
    pub limit: Option<Rate>,
    pub log: bool,
    pub note: Option<String>,
}

/// An entry of `to`.
#[derive(Debug)]
pub(crate) enum RawDestination {
    Address(Word),
    Container(String),
}

/// `[[expect]]`.
#[derive(Debug)]
pub(crate) struct RawExpectation {
    pub at: Place,
    pub from: Vec<At<Word>>,
    pub open: Vec<At<String>>,
    pub closed: Vec<At<String>>,
}

/// `[guard]`.
#[derive(Debug, Default)]
pub(crate) struct RawGuard {
    pub keep: Option<At<Vec<At<String>>>>,
    pub from: Option<At<Vec<At<Word>>>>,
    pub confirm_within: Option<At<Duration>>,
    pub keep_generations: Option<At<u32>>,
}
