//! A short file of `/proc` → what is in it, by as few calls as can be: open, read, close.
//!
//! The size of such files is not known before, so the standard library reads them in many small
//! pieces. What is read here the kernel makes in one piece (a setting, or one text about one process
//! or one namespace), so a read that does not fill the buffer was the last.

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, read as read_into};
use rustix::path::Arg;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;

/// More than nearly all of them have.
const ENOUGH: usize = 4096;

/// What is in this file.
pub fn read(path: impl Arg) -> Result<Vec<u8>, Errno> {
    read_at(CWD, path)
}

/// What is in the file that has this path from an open folder.
pub fn read_at(folder: impl AsFd, path: impl Arg) -> Result<Vec<u8>, Errno> {
    let file = openat(folder, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut all = Vec::new();
    let mut buffer = [MaybeUninit::uninit(); ENOUGH];
    loop {
        let (piece, _) = match read_into(&file, &mut buffer[..]) {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        all.extend_from_slice(piece);
        if piece.len() < ENOUGH {
            return Ok(all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_any_length_are_read_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        for length in [0, 1, ENOUGH - 1, ENOUGH, ENOUGH + 1, 3 * ENOUGH] {
            let path = folder.path().join(length.to_string());
            std::fs::write(&path, vec![b'x'; length]).expect("written");
            assert_eq!(read(path.as_path()).expect("read").len(), length);
        }
        let missing = folder.path().join("missing");
        assert_eq!(read(missing.as_path()), Err(Errno::NOENT));
    }

    #[test]
    fn what_the_kernel_says_of_a_process_is_read_whole() {
        for name in ["status", "cgroup", "comm", "loginuid"] {
            let path = format!("/proc/self/{name}");
            let Ok(whole) = std::fs::read(&path) else { continue };
            let own = read(path.as_str()).expect("read");
            // Numbers in it may become longer meanwhile.
            let later = std::fs::read(&path).expect("read");
            assert!((whole.len()..=later.len()).contains(&own.len()), "{name}: {own:?}");
        }
    }
}
