//! The number that the kernel raises with every change of a namespace's ruleset.

use super::Namespace;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

impl Namespace {
    /// The generation id (`NFT_MSG_GETGEN` of linux/netfilter/nf_tables.h). Equal before and after
    /// means that nobody sent a transaction in between.
    pub fn ruleset_generation(&self) -> u32 {
        self.enter(|| {
            let mut socket = Socket::new(NETLINK_NETFILTER).unwrap();
            socket.bind_auto().unwrap();
            // nlmsghdr: length, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN, NLM_F_REQUEST,
            // sequence, port; then nfgenmsg: family, version, resource id.
            let mut request = Vec::new();
            request.extend(20_u32.to_ne_bytes());
            request.extend((10_u16 << 8 | 16).to_ne_bytes());
            request.extend(1_u16.to_ne_bytes());
            request.extend([0; 12]);
            socket.send_to(&request, &SocketAddr::new(0, 0), 0).unwrap();
            let (reply, _) = socket.recv_from_full().unwrap();
            let mut attributes = &reply[20..];
            loop {
                let length = usize::from(u16::from_ne_bytes([attributes[0], attributes[1]]));
                let kind = u16::from_ne_bytes([attributes[2], attributes[3]]);
                if kind == 1 {
                    // NFTA_GEN_ID, in network order.
                    return u32::from_be_bytes(attributes[4..8].try_into().unwrap());
                }
                attributes = &attributes[length.next_multiple_of(4)..];
            }
        })
    }
}
