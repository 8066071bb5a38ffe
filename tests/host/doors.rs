//! The questions that most tests ask of a host from outside: which ports answer whom.

use super::machine::Host;
use crate::net::{
    Answer, HOST_LAN_V4, HOST_LAN_V6, HOST_WAN_V4, HOST_WAN_V6, Namespace, Probe, expect,
};
use std::net::{IpAddr, SocketAddr};

impl Host {
    /// Each client with each address at which it dials the host: both clients, both families.
    pub fn clients(&self) -> [(&Namespace, IpAddr); 4] {
        [
            (&self.lab.internet, HOST_WAN_V4),
            (&self.lab.internet, HOST_WAN_V6),
            (&self.lab.lan, HOST_LAN_V4),
            (&self.lab.lan, HOST_LAN_V6),
        ]
    }

    /// Holds where every client, on both families, gets this answer from each of these TCP ports.
    pub fn expect_from_outside(&self, ports: &[(u16, Answer)]) {
        let expected: Vec<_> = self
            .clients()
            .into_iter()
            .flat_map(|(from, address)| {
                ports.iter().map(move |&(port, answer)| (Probe::tcp(from, (address, port)), answer))
            })
            .collect();
        expect(&expected);
    }

    /// Holds where the host itself reaches each of these TCP ports at all of its own addresses.
    pub fn expect_from_itself(&self, ports: &[u16]) {
        let addresses = [HOST_WAN_V4, HOST_WAN_V6, HOST_LAN_V4, HOST_LAN_V6];
        let own = addresses.into_iter().chain(["127.0.0.1", "::1"].map(|a| a.parse().unwrap()));
        let expected: Vec<_> = own
            .flat_map(|address: IpAddr| {
                ports.iter().map(move |&port| {
                    (Probe::tcp(&self.lab.host, SocketAddr::from((address, port))), Answer::Open)
                })
            })
            .collect();
        expect(&expected);
    }

    /// Holds where both clients get this answer from a port of a container's own addresses on one
    /// of its networks, which they reach by routing through the host.
    pub fn expect_routed(&self, container: &str, network: &str, port: u16, answer: Answer) {
        let (v4, v6) = self.container_addresses(container, network);
        let addresses = [v4, v6].into_iter().filter(|address| !address.is_empty());
        let addresses: Vec<IpAddr> = addresses.map(|address| address.parse().unwrap()).collect();
        assert!(!addresses.is_empty(), "{container} is not on {network}");
        let expected: Vec<_> = addresses
            .iter()
            .flat_map(|&address| {
                [&self.lab.internet, &self.lab.lan]
                    .map(|from| (Probe::tcp(from, (address, port)), answer))
            })
            .collect();
        expect(&expected);
    }

    /// Writes the policy, and applies it at once. Gives what apply printed.
    pub fn apply(&self, policy: &str) -> String {
        self.write("/etc/fwctl/policy.toml", policy);
        self.sh("fwctl apply --no-confirm --yes 2>&1")
    }
}
