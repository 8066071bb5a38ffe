//! Routes and an address → the interface by which packets for it leave.
//!
//! Pure. Looks at the local, main and default tables, as a host without rules of its own does;
//! policy routing is not followed.

use super::Route;
use crate::model::IfaceName;
use std::net::IpAddr;

/// `RT_TABLE_LOCAL`, `RT_TABLE_MAIN`, `RT_TABLE_DEFAULT`, in the order in which they are asked.
const TABLES: [u32; 3] = [255, 254, 253];

/// The interface of the longest matching prefix, the lowest metric first.
pub fn interface_to(routes: &[Route], address: IpAddr) -> Option<&IfaceName> {
    TABLES.iter().find_map(|table| {
        routes
            .iter()
            .filter(|route| {
                route.table == *table
                    && route.to.contains(address)
                    && matches!(route.kind.as_str(), "unicast" | "local")
            })
            .max_by_key(|route| (route.to.length(), std::cmp::Reverse(route.metric)))
            .and_then(|route| route.interface.as_ref())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(to: &str, table: u32, interface: &str, metric: u32) -> Route {
        let kind = if table == 255 { "local" } else { "unicast" }.to_owned();
        let interface = Some(interface.parse().expect("valid"));
        Route { to: to.parse().expect("valid"), table, kind, interface, gateway: None, metric }
    }

    #[test]
    fn the_longest_prefix_wins_then_the_lowest_metric() {
        let routes = [
            route("0.0.0.0/0", 254, "wan1", 200),
            route("0.0.0.0/0", 254, "wan0", 100),
            route("192.0.2.0/24", 254, "lan", 0),
            route("127.0.0.0/8", 255, "lo", 0),
            route("203.0.113.0/24", 1000, "vpn", 0),
        ];
        let to = |address: &str| {
            interface_to(&routes, address.parse().expect("valid")).map(IfaceName::as_str)
        };
        assert_eq!(to("198.51.100.1"), Some("wan0"));
        assert_eq!(to("192.0.2.9"), Some("lan"));
        assert_eq!(to("127.0.0.1"), Some("lo"));
        assert_eq!(to("203.0.113.1"), Some("wan0"), "other tables need a rule");
        assert_eq!(to("2001:db8::1"), None);
    }
}
