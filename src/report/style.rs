//! Colours. They only repeat what the words say; a stream that shows none strips them.

use anstyle::{AnsiColor, Effects, Reset, Style};

/// Ends every style.
pub const END: Reset = Reset;
/// A heading.
pub const STRONG: Style = Style::new().effects(Effects::BOLD);
/// What matters least.
pub const FAINT: Style = Style::new().effects(Effects::DIMMED);
/// A failure, or a door that opens.
pub const ERROR: Style = AnsiColor::Red.on_default().effects(Effects::BOLD);
/// A warning, or a door that is open in part.
pub const WARNING: Style = AnsiColor::Yellow.on_default().effects(Effects::BOLD);
/// What is added.
pub const ADDED: Style = AnsiColor::Green.on_default();
/// What is taken away.
pub const REMOVED: Style = AnsiColor::Red.on_default();
/// What is changed.
pub const CHANGED: Style = AnsiColor::Yellow.on_default();
