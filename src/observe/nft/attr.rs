//! Netlink messages and attributes, as slices of what was received.
//!
//! In: any bytes. Out: what is well-formed at their beginning; the rest is left out. Never panics.

use super::uapi::{NFGENMSG_LEN, NLA_TYPE_MASK, NLMSG_HDRLEN};

/// One netlink message of nfnetlink.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'b> {
    /// `nlmsg_type`: subsystem and type.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// `nlmsg_seq`.
    pub sequence: u32,
    /// All of it, header included.
    pub whole: &'b [u8],
    /// What follows the header.
    pub payload: &'b [u8],
}

impl<'b> Message<'b> {
    /// The family of `struct nfgenmsg`; 0 where it is missing.
    pub fn family(&self) -> u8 {
        self.payload.first().copied().unwrap_or(0)
    }

    /// The attributes behind `struct nfgenmsg`.
    pub fn attributes(&self) -> Attributes<'b> {
        Attributes(self.payload.get(NFGENMSG_LEN..).unwrap_or_default())
    }
}

/// Goes through messages that stand one behind the other.
#[derive(Debug, Clone)]
pub(super) struct Messages<'b>(pub &'b [u8]);

impl<'b> Iterator for Messages<'b> {
    type Item = Message<'b>;

    fn next(&mut self) -> Option<Message<'b>> {
        let bytes = self.0;
        let length = native_u32(bytes, 0)? as usize;
        if length < NLMSG_HDRLEN {
            return None;
        }
        let whole = bytes.get(..length)?;
        self.0 = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message {
            kind: native_u16(whole, 4)?,
            flags: native_u16(whole, 6)?,
            sequence: native_u32(whole, 8)?,
            whole,
            payload: whole.get(NLMSG_HDRLEN..)?,
        })
    }
}

/// Attributes that stand one behind the other: numbers and values.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Attributes<'b>(pub &'b [u8]);

impl<'b> IntoIterator for Attributes<'b> {
    type Item = (u16, &'b [u8]);
    type IntoIter = Walk<'b>;

    fn into_iter(self) -> Walk<'b> {
        Walk(self.0)
    }
}

/// Goes through [`Attributes`].
#[derive(Debug)]
pub(super) struct Walk<'b>(&'b [u8]);

impl<'b> Iterator for Walk<'b> {
    type Item = (u16, &'b [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        const NLA_HDRLEN: usize = 4;
        let bytes = self.0;
        let length = usize::from(native_u16(bytes, 0)?);
        let kind = native_u16(bytes, 2)? & NLA_TYPE_MASK;
        let value = bytes.get(NLA_HDRLEN..length)?;
        self.0 = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

impl<'b> Attributes<'b> {
    /// The value of the first attribute of this number.
    pub fn get(self, number: u16) -> Option<&'b [u8]> {
        self.into_iter().find(|(kind, _)| *kind == number).map(|(_, value)| value)
    }

    /// The attributes inside an attribute.
    pub fn nested(self, number: u16) -> Option<Attributes<'b>> {
        self.get(number).map(Attributes)
    }

    /// A number in network order.
    pub fn be32(self, number: u16) -> Option<u32> {
        self.get(number).and_then(be32)
    }

    /// A number in network order.
    pub fn be64(self, number: u16) -> Option<u64> {
        self.get(number)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
    }

    /// A number in network order.
    pub fn be16(self, number: u16) -> Option<u16> {
        self.get(number)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
    }

    /// One byte.
    pub fn byte(self, number: u16) -> Option<u8> {
        self.get(number)?.first().copied()
    }

    /// A NUL-terminated text.
    pub fn text(self, number: u16) -> Option<String> {
        self.get(number).map(text)
    }
}

/// A number in network order.
pub(super) fn be32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// The text up to the first NUL; bytes that are no UTF-8 are replaced.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// A number in host order.
pub(super) fn native_u16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

/// A number in host order.
pub(super) fn native_u32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// An entry of nft's own user data: one byte of type, one of length, the value
/// (`libnftnl/udata.h`).
pub(super) fn user_data(bytes: &[u8], kind: u8) -> Option<&[u8]> {
    let mut rest = bytes;
    while let [found, length, tail @ ..] = rest {
        let value = tail.get(..usize::from(*length))?;
        if *found == kind {
            return Some(value);
        }
        rest = &tail[value.len()..];
    }
    None
}

/// Writes an attribute.
pub(super) fn push(buffer: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).expect("names are at most 256 bytes long");
    buffer.extend_from_slice(&length.to_ne_bytes());
    buffer.extend_from_slice(&kind.to_ne_bytes());
    buffer.extend_from_slice(value);
    buffer.resize(buffer.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_that_lie_about_their_length_end_the_list() {
        let mut bytes = Vec::new();
        push(&mut bytes, 1, b"abc\0");
        bytes.extend_from_slice(&[200, 0, 2, 0, 1]);
        let all: Vec<_> = Attributes(&bytes).into_iter().collect();
        assert_eq!(all, [(1, b"abc\0".as_slice())]);
        assert_eq!(Attributes(&bytes).text(1).as_deref(), Some("abc"));
        assert_eq!(Attributes(&[3, 0, 1, 0]).into_iter().next(), None, "shorter than its header");
        assert_eq!(user_data(&[0, 2, b'h', b'i', 1, 9], 1), None);
        assert_eq!(user_data(&[0, 2, b'h', b'i', 1, 1, b'x'], 1), Some(b"x".as_slice()));
    }
}
