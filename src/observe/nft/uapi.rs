//! Numbers of the kernel's interface, from `linux/netlink.h`, `linux/netfilter/nfnetlink.h` and
//! `linux/netfilter/nf_tables.h`. Attribute numbers stand beside the code that reads them, in a
//! constant of the header's name.

/// `NLM_F_REQUEST`.
pub(super) const NLM_F_REQUEST: u16 = 0x1;
/// `NLM_F_DUMP_INTR`: the ruleset changed under the dump.
pub(super) const NLM_F_DUMP_INTR: u16 = 0x10;
/// `NLM_F_DUMP`.
pub(super) const NLM_F_DUMP: u16 = 0x300;
/// `NLMSG_ERROR`.
pub(super) const NLMSG_ERROR: u16 = 2;
/// `NLMSG_DONE`.
pub(super) const NLMSG_DONE: u16 = 3;
/// The length of `struct nlmsghdr`.
pub(super) const NLMSG_HDRLEN: usize = 16;
/// The length of `struct nfgenmsg`.
pub(super) const NFGENMSG_LEN: usize = 4;
/// `NFNL_SUBSYS_NFTABLES`.
pub(super) const SUBSYS_NFTABLES: u16 = 10;
/// `NFNLGRP_NFTABLES`: the group that hears of every change of the ruleset.
pub(super) const GROUP_NFTABLES: u32 = 7;
/// The bits of an attribute's type that are its number (`NLA_TYPE_MASK`).
pub(super) const NLA_TYPE_MASK: u16 = 0x3fff;

/// `enum nf_tables_msg_types`.
pub(super) mod message {
    pub(in crate::observe::nft) const NEWTABLE: u8 = 0;
    pub(in crate::observe::nft) const GETTABLE: u8 = 1;
    pub(in crate::observe::nft) const DELTABLE: u8 = 2;
    pub(in crate::observe::nft) const NEWCHAIN: u8 = 3;
    pub(in crate::observe::nft) const GETCHAIN: u8 = 4;
    pub(in crate::observe::nft) const DELCHAIN: u8 = 5;
    pub(in crate::observe::nft) const NEWRULE: u8 = 6;
    pub(in crate::observe::nft) const GETRULE: u8 = 7;
    pub(in crate::observe::nft) const DELRULE: u8 = 8;
    pub(in crate::observe::nft) const NEWSET: u8 = 9;
    pub(in crate::observe::nft) const GETSET: u8 = 10;
    pub(in crate::observe::nft) const NEWSETELEM: u8 = 12;
    pub(in crate::observe::nft) const GETSETELEM: u8 = 13;
    pub(in crate::observe::nft) const NEWGEN: u8 = 15;
    pub(in crate::observe::nft) const GETGEN: u8 = 16;
    pub(in crate::observe::nft) const NEWOBJ: u8 = 18;
    pub(in crate::observe::nft) const GETOBJ: u8 = 19;
    pub(in crate::observe::nft) const NEWFLOWTABLE: u8 = 22;
    pub(in crate::observe::nft) const GETFLOWTABLE: u8 = 23;
}
