//! What fwctl itself keeps on disk → the confirmed generation, if there is one.

use super::{Installed, Warning};
use std::io;
use std::path::Path;

/// Below `FWCTL_ROOT`; written when a generation is confirmed.
pub const CONFIRMED: &str = "var/lib/fwctl/confirmed.json";

/// Reads the confirmed generation below this root.
pub fn read(root: &Path, warnings: &mut Vec<Warning>) -> Option<Installed> {
    let path = root.join(CONFIRMED);
    let mut warn = |why: String| {
        let message = format!(
            "{} {why}: fwctl does not know which generation it confirmed last; the ruleset in the \
             kernel is what counts",
            path.display()
        );
        warnings.push(Warning { subject: "installed".into(), message });
    };
    match std::fs::read(&path) {
        Ok(bytes) => match serde_json::from_slice::<Installed>(&bytes) {
            Ok(mut installed) => {
                // A snapshot holds no contents of files.
                installed.policy.sources.iter_mut().for_each(|file| file.text = None);
                Some(installed)
            }
            Err(error) => {
                warn(format!("is broken (line {})", error.line()));
                None
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            warn(format!("cannot be read ({error})"));
            None
        }
    }
}

/// Below `FWCTL_ROOT`; written before a change is made that is to be confirmed, and when it ends.
pub const ATTEMPT: &str = "var/lib/fwctl/attempt.json";

/// Reads the last change that was to be confirmed. One that cannot be read is none: the kernel is
/// what counts.
pub fn attempt(root: &Path) -> Option<super::Attempt> {
    serde_json::from_slice(&std::fs::read(root.join(ATTEMPT)).ok()?).ok()
}

/// The folders of generations, below `FWCTL_ROOT`, each named by its number.
pub const GENERATIONS: &str = "var/lib/fwctl/generations";

/// The numbers of the generations that are kept below this folder, ascending.
pub fn generations(folder: &Path) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut numbers: Vec<u32> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_file_is_no_warning_and_a_broken_one_is() {
        let root = tempfile::tempdir().expect("a folder");
        let mut warnings = Vec::new();
        assert_eq!(read(root.path(), &mut warnings), None);
        assert_eq!(warnings, []);
        let file = root.path().join(CONFIRMED);
        std::fs::create_dir_all(file.parent().expect("has one")).expect("made");
        std::fs::write(&file, "{\"generation\": 3,").expect("written");
        assert_eq!(read(root.path(), &mut warnings), None);
        assert!(warnings[0].message.contains("is broken (line 1)"), "{warnings:?}");
    }
}
