//! What fuzzing begins with: what the tests have recorded, and what is shipped.

use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files below a folder whose names end so, sorted.
pub fn files(folder: &str, ends: &str) -> Vec<Vec<u8>> {
    let mut open = vec![root().join(folder)];
    let mut found: Vec<PathBuf> = Vec::new();
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.to_string_lossy().ends_with(ends) {
                found.push(path);
            }
        }
    }
    found.sort();
    found.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

pub fn dumps() -> Vec<Vec<u8>> {
    files("tests/nft_dumps", ".bin")
}

pub fn legacy() -> Vec<Vec<u8>> {
    files("tests/legacy_dumps", ".bin")
}

pub fn engines() -> Vec<Vec<u8>> {
    files("tests/observe/docker-20.10", ".json")
}

pub fn snapshots() -> Vec<Vec<u8>> {
    let mut all = files("tests/observe", "docker-host.json");
    all.extend(files("tests/golden/cli", "web1.json"));
    all.extend(files("tests/shipped", "docker-host.json"));
    all
}

pub fn policies() -> Vec<Vec<u8>> {
    let mut all = files("policies", ".toml");
    all.extend(files("tests/policy_cases", ".toml"));
    all
}

pub fn texts() -> Vec<Vec<u8>> {
    [
        "root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n",
        "0::/system.slice/docker-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope\n",
        "12:pids:/user.slice/user-1000.slice/session-3.scope\n1:name=systemd:/system.slice/nginx.service\n0::/lxc.payload.web/system.slice\n",
        "Name:\tsshd\nUmask:\t0022\nPid:\t812\nPPid:\t790\nUid:\t0\t1000\t0\t0\n",
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n   1: 00000000:0001 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 18324 2 0000000000000000 0\n",
        "   1: 00000000000000000000000001000000:003A 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 18324 2 0000000000000000 0\n",
        " ENDPT     SOCK   STY SST HBKT LPORT   UID INODE LADDRS\n 0 0 2 10 21 3868 0 22190 198.51.100.1 2001:0db8::1\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// Links, an address, a route, sockets, a neighbour, a policy and an association of IPsec, and what
/// stands at hooks, as the kernel tells them, in few bytes.
pub fn messages() -> Vec<Vec<u8>> {
    let message = |kind: u16, header: &[u8], attributes: &[(u16, &[u8])]| {
        let mut body = header.to_vec();
        for (number, value) in attributes {
            body.extend(u16::try_from(value.len() + 4).unwrap().to_ne_bytes());
            body.extend(number.to_ne_bytes());
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let mut all = u32::try_from(body.len() + 16).unwrap().to_ne_bytes().to_vec();
        all.extend(kind.to_ne_bytes());
        all.extend([0; 10]);
        all.extend(body);
        all
    };
    let link = [0, 0, 1, 0, 2, 0, 0, 0, 0x43, 0x10, 1, 0, 0, 0, 0, 0];
    let kind = [&[10, 0, 1, 0][..], b"bridge", &[0, 0]].concat();
    let ends = [[8, 0, 6, 0, 203, 0, 113, 10], [8, 0, 7, 0, 198, 51, 100, 7]].concat();
    let gre = [&[8, 0, 1, 0][..], b"gre\0", &[20, 0, 2, 0], &ends].concat();
    let policy = [&[0; 40][..], &[2, 0, 24, 24], &[0; 124]].concat();
    let template =
        [&[198, 51, 100, 7][..], &[0; 16], &[50, 0, 0, 0, 2, 0, 0, 0], &[0; 36]].concat();
    let association = [&[0; 76][..], &[50], &[0; 135], &[2, 0], &[0; 10]].concat();
    let around = [&[2, 0, 0x11, 0x94, 0x11, 0x94][..], &[0; 18]].concat();
    let mut all = vec![
        message(16, &link, &[(3, b"eth0\0"), (18, &kind), (10, &[3, 0, 0, 0])]),
        message(16, &link, &[(3, b"gre1\0"), (18, &gre)]),
        message(
            28,
            &[7, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0],
            &[(1, &[198, 51, 100, 7]), (2, &[2; 6])],
        ),
        message(19, &policy, &[(5, &template), (31, &[7, 0, 0, 0])]),
        message(16, &association, &[(20, &[0xa5; 100]), (4, &around)]),
        message(
            20,
            &[2, 24, 0, 0, 2, 0, 0, 0],
            &[(1, &[203, 0, 113, 10]), (2, &[203, 0, 113, 10])],
        ),
        message(
            24,
            &[2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0],
            &[(5, &[203, 0, 113, 1]), (4, &[2, 0, 0, 0]), (9, &[16, 0, 0, 0, 2, 0, 0, 0])],
        ),
        [&[2, 10, 0, 0, 0, 22, 0, 0][..], &[0; 64]].concat(),
        [&[10, 7, 0, 0, 0, 53, 0, 0][..], &[0; 64], &[5, 0, 11, 0, 1, 0, 0, 0]].concat(),
    ];
    all.extend(files("tests/hook_lists", ".bin"));
    all
}
