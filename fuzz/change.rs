//! Inputs → other inputs: bytes and texts changed at random, and netlink messages changed so that
//! most of them still are messages.

/// `SplitMix64`.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below the bound; 0 for a bound of 0.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).unwrap()
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// A byte, often one at a border.
    pub fn byte(&mut self) -> u8 {
        let any = self.next().to_le_bytes()[0];
        *self.pick(&[0, 1, 4, 0x7f, 0x80, 0xff, any, any, any])
    }
}

/// The largest input: what is longer only costs time.
const LONGEST: usize = 1 << 18;

/// Puts a piece of another input into this one.
pub fn splice(input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let from = random.below(other.len());
    let to = (from + random.below(400)).min(other.len());
    let at = random.below(input.len() + 1);
    input.splice(at..at, other[from..to].iter().copied());
    input.truncate(LONGEST);
}

/// Changes bytes, whatever they mean.
pub fn bytes(input: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(input.len());
    match random.below(6) {
        _ if input.is_empty() => input.push(random.byte()),
        0 => input[at] ^= 1 << random.below(8),
        1 => input[at] = random.byte(),
        2 => {
            let end = (at + random.below(32)).min(input.len());
            input.drain(at..end);
        }
        3 => {
            let added: Vec<u8> = (0..random.below(12)).map(|_| random.byte()).collect();
            input.splice(at..at, added);
        }
        4 => input.truncate(at),
        _ => {
            let end = (at + random.below(200)).min(input.len());
            let twice = input[at..end].to_vec();
            input.splice(at..at, twice);
        }
    }
    input.truncate(LONGEST);
}

/// Changes a text: numbers, words, lines and marks.
pub fn text(input: &mut Vec<u8>, random: &mut Random) {
    const WORDS: [&str; 24] = [
        "0",
        "-1",
        "1",
        "65535",
        "65536",
        "4294967296",
        "18446744073709551616",
        "1e309",
        "null",
        "true",
        "[]",
        "{}",
        "\"\"",
        "::",
        "0.0.0.0/0",
        "::/0",
        "255.255.255.255/33",
        "\u{202e}",
        "\u{0}",
        "[[[[[[[[[[[[[[[[[[[[",
        "@a",
        "*",
        "é",
        "9999999999999999999999999999s",
    ];
    match random.below(4) {
        0 => bytes(input, random),
        // A number or word becomes another.
        1 | 2 => {
            let start = random.below(input.len());
            let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':');
            let first = input.iter().skip(start).position(plain).map(|at| at + start);
            let Some(first) = first else { return };
            let last = input[first..].iter().position(|byte| !plain(byte));
            let last = last.map_or(input.len(), |at| at + first);
            input.splice(first..last, random.pick(&WORDS).bytes());
        }
        // A line comes twice, or goes.
        _ => {
            let mut lines: Vec<Vec<u8>> =
                input.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            let (from, to) = (random.below(lines.len()), random.below(lines.len()));
            let line = lines[from].clone();
            if random.chance(50) {
                lines.insert(to, line);
            } else {
                lines.remove(from);
            }
            *input = lines.join(&b'\n');
        }
    }
    input.truncate(LONGEST);
}

fn length(input: &[u8], at: usize) -> Option<usize> {
    let bytes = input.get(at..at + 2)?;
    Some(usize::from(u16::from_ne_bytes([bytes[0], bytes[1]])))
}

/// Where a random attribute of a random message stands, however deep: its beginning and end, and
/// the beginnings of all that it is inside of.
fn attribute(input: &[u8], random: &mut Random) -> Option<(usize, usize, Vec<usize>)> {
    let mut messages = Vec::new();
    let mut at = 0;
    while let Some(bytes) = input.get(at..at + 4) {
        let len = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
        if len < 20 || at + len > input.len() {
            break;
        }
        messages.push((at, at + len));
        at += len.next_multiple_of(4);
    }
    if messages.is_empty() {
        return None;
    }
    let (message, message_end) = *random.pick(&messages);
    let (mut begin, mut end, mut inside) = (message + 20, message_end, Vec::new());
    loop {
        let mut all = Vec::new();
        let mut at = begin;
        while at + 4 <= end {
            let len = length(input, at)?;
            if len < 4 || at + len > end {
                break;
            }
            all.push((at, at + len));
            at += len.next_multiple_of(4);
        }
        // Nothing that looks like attributes, or deep enough.
        if all.is_empty() || (!inside.is_empty() && random.chance(15)) {
            let own = inside.pop()?;
            let len = length(input, own)?;
            inside.insert(0, message);
            return Some((own, own + len, inside));
        }
        let (from, to) = *random.pick(&all);
        inside.push(from);
        (begin, end) = (from + 4, to);
    }
}

/// Changes a netlink dump: often within an attribute, with all lengths around it made right again.
pub fn netlink(input: &mut Vec<u8>, random: &mut Random) {
    if random.chance(20) {
        return bytes(input, random);
    }
    let Some((from, to, inside)) = attribute(input, random) else { return bytes(input, random) };
    let old = to - from;
    let mut own = input[from..to].to_vec();
    match random.below(7) {
        // Another number: another meaning.
        0 => own[2] = random.byte(),
        1 if own.len() > 4 => {
            let at = 4 + random.below(own.len() - 4);
            own[at] = random.byte();
        }
        2 => own.truncate(4 + random.below(own.len() - 3)),
        3 => own.extend((0..random.below(40)).map(|_| random.byte())),
        4 => own.clear(),
        5 => {
            own.resize(own.len().next_multiple_of(4), 0);
            let again = own.clone();
            own.extend(again);
        }
        _ if own.len() >= 8 => {
            let at = 4 + random.below(own.len() - 7);
            let number = *random.pick(&[0, 1, 0xff, 0xffff, 0x7fff_ffff, u32::MAX, 64, 16]);
            own[at..at + 4].copy_from_slice(&number.to_be_bytes());
        }
        _ => {}
    }
    if own.len() >= 4 && random.chance(95) && random.below(7) != 5 {
        let len = u16::try_from(own.len()).unwrap_or(u16::MAX);
        own[..2].copy_from_slice(&len.to_ne_bytes());
    }
    let padded = old.next_multiple_of(4).min(input.len() - from);
    own.resize(own.len().next_multiple_of(4), 0);
    let new = own.len();
    input.splice(from..from + padded, own);
    let grown = |len: usize| (len + new).saturating_sub(padded);
    for (depth, at) in inside.into_iter().enumerate() {
        if depth == 0 {
            let old = input.get(at..at + 4).map(|b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
            let Some(old) = old else { return };
            let len = u32::try_from(grown(old as usize)).unwrap_or(u32::MAX);
            input[at..at + 4].copy_from_slice(&len.to_ne_bytes());
        } else if let Some(old) = length(input, at) {
            let len = u16::try_from(grown(old)).unwrap_or(u16::MAX);
            input[at..at + 2].copy_from_slice(&len.to_ne_bytes());
        }
    }
    input.truncate(LONGEST);
}
