//! Generic netlink: the number that the kernel gave to a family. Numbers are those of
//! linux/genetlink.h.

use super::netlink::{Channel, HEADER, NetlinkError, attribute, u16_at, value};
use netlink_packet_core::NLM_F_ACK;

/// The length of `struct genlmsghdr`.
pub const GENLMSGHDR: usize = 4;
/// `GENL_ID_CTRL`.
const CONTROL: u16 = 0x10;

/// The message type of a family. The kernel loads the module of one that it does not know.
pub fn family(channel: &mut Channel, name: &str) -> Result<u16, NetlinkError> {
    // CTRL_CMD_GETFAMILY, version 1; CTRL_ATTR_FAMILY_NAME.
    let mut request = vec![3, 1, 0, 0];
    request.extend(attribute(2, format!("{name}\0").as_bytes()));
    let mut family = None;
    channel.ask(CONTROL, NLM_F_ACK, &request, |message| {
        let body = message.get(HEADER + GENLMSGHDR..).unwrap_or_default();
        // CTRL_ATTR_FAMILY_ID.
        family = value(body, 1).and_then(|id| u16_at(id, 0));
    })?;
    family.ok_or(NetlinkError::Truncated)
}
