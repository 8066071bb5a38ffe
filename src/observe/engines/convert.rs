//! The API's own objects → ours: names, addresses and ports, nothing else.

use crate::model::{Prefix, Protocol};
use crate::observe::{Container, ContainerNetwork, ContainerState, EngineKind, PublishedPort};
use bollard::models::{
    ContainerInspectResponse, ContainerSummary, ContainerSummaryStateEnum, LocalNodeState, Network,
    PortSummary, PortSummaryTypeEnum, SystemInfo,
};
use std::net::{IpAddr, Ipv4Addr};

/// The option that names a network's bridge.
const BRIDGE_NAME: &str = "com.docker.network.bridge.name";

/// Whether the engine has a network that only a swarm makes. It makes `docker_gwbridge` when it
/// joins one, without which no swarm publishes a port on it; it may keep it when it leaves.
pub fn may_be_in_swarm(networks: &[Network]) -> bool {
    networks.iter().any(|network| {
        network.name.as_deref() == Some("docker_gwbridge")
            || network.ingress == Some(true)
            || network.scope.as_deref() == Some("swarm")
    })
}

/// Whether the engine is part of a swarm.
pub fn in_swarm(info: &SystemInfo) -> bool {
    info.swarm
        .as_ref()
        .and_then(|swarm| swarm.local_node_state)
        .is_some_and(|state| !matches!(state, LocalNodeState::EMPTY | LocalNodeState::INACTIVE))
}

/// A network; `None` for one without a name.
pub fn network(kind: EngineKind, network: &Network) -> Option<ContainerNetwork> {
    let name = network.name.clone()?;
    let driver = network.driver.clone().unwrap_or_default();
    let named = network.options.as_ref().and_then(|options| options.get(BRIDGE_NAME)?.parse().ok());
    // libnetwork's own choice where nothing names the bridge; Podman's compatible API does not
    // tell the name.
    let chosen = || match kind {
        EngineKind::Docker if driver == "bridge" => {
            format!("br-{}", network.id.as_deref()?.get(..12)?).parse().ok()
        }
        EngineKind::Docker | EngineKind::Podman => None,
    };
    let bridge = named.or_else(chosen);
    let configs = network.ipam.as_ref().and_then(|ipam| ipam.config.as_ref());
    let mut subnets: Vec<Prefix> = configs
        .into_iter()
        .flatten()
        .filter_map(|config| config.subnet.as_deref()?.parse().ok())
        .collect();
    subnets.sort_unstable();
    Some(ContainerNetwork { name, driver, bridge, subnets })
}

/// A container as a list tells it; `None` for one without an id.
pub fn container(summary: &ContainerSummary) -> Option<Container> {
    let id = summary.id.clone()?;
    // A name has a slash before it; links to other containers have one inside, too.
    let mut names: Vec<&str> =
        summary.names.iter().flatten().map(|name| name.trim_start_matches('/')).collect();
    names.sort_by_key(|name| (name.contains('/'), *name));
    let name = names.first().map_or_else(|| id.chars().take(12).collect(), |n| (*n).to_owned());
    let mode = summary.host_config.as_ref().and_then(|config| config.network_mode.as_deref());
    let networks = summary.network_settings.as_ref().and_then(|s| s.networks.as_ref());
    let addresses = networks
        .into_iter()
        .flatten()
        .map(|(network, endpoint)| {
            let parse = |text: &Option<String>| text.as_deref()?.parse::<IpAddr>().ok();
            let mut addresses: Vec<IpAddr> =
                [parse(&endpoint.ip_address), parse(&endpoint.global_ipv6_address)]
                    .into_iter()
                    .flatten()
                    .collect();
            addresses.sort_unstable();
            (network.clone(), addresses)
        })
        .collect();
    let running = matches!(
        summary.state,
        // A paused container keeps its addresses and ports.
        Some(ContainerSummaryStateEnum::RUNNING | ContainerSummaryStateEnum::PAUSED)
    );
    let mut published: Vec<PublishedPort> =
        summary.ports.iter().flatten().filter_map(published_port).collect();
    published.sort_unstable();
    published.dedup();
    Some(Container {
        name,
        id,
        image: summary.image.clone().unwrap_or_default(),
        state: if running { ContainerState::Running } else { ContainerState::Stopped },
        host_network: mode == Some("host"),
        addresses,
        published,
    })
}

fn published_port(port: &PortSummary) -> Option<PublishedPort> {
    let protocol = match port.typ {
        Some(PortSummaryTypeEnum::UDP) => Protocol::UDP,
        Some(PortSummaryTypeEnum::SCTP) => Protocol::SCTP,
        Some(PortSummaryTypeEnum::TCP | PortSummaryTypeEnum::EMPTY) | None => Protocol::TCP,
    };
    Some(PublishedPort {
        protocol,
        host_address: host_address(port.ip.as_deref())?,
        host_port: port.public_port.filter(|port| *port != 0)?,
        container_port: port.private_port,
    })
}

/// What a container publishes once it runs. A port that is chosen then is left out.
pub fn configured_ports(details: &ContainerInspectResponse) -> Vec<PublishedPort> {
    let bindings = details.host_config.as_ref().and_then(|config| config.port_bindings.as_ref());
    let mut published = Vec::new();
    for (port, bindings) in bindings.into_iter().flatten() {
        // `80/tcp`
        let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        let (Ok(container_port), Ok(protocol)) = (number.parse(), protocol.parse()) else {
            continue;
        };
        for binding in bindings.iter().flatten() {
            let (Some(host_address), Some(host_port)) = (
                host_address(binding.host_ip.as_deref()),
                binding.host_port.as_deref().and_then(|port| port.parse().ok()),
            ) else {
                continue;
            };
            if host_port != 0 {
                published.push(PublishedPort { protocol, host_address, host_port, container_port });
            }
        }
    }
    published.sort_unstable();
    published.dedup();
    published
}

/// The host's address of a binding; none or an empty one means any.
fn host_address(text: Option<&str>) -> Option<IpAddr> {
    match text {
        None | Some("") => Some(Ipv4Addr::UNSPECIFIED.into()),
        Some(text) => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_host_address_is_any() {
        assert_eq!(host_address(Some("")), Some("0.0.0.0".parse().expect("valid")));
        assert_eq!(host_address(None), Some("0.0.0.0".parse().expect("valid")));
        assert_eq!(host_address(Some("::")), Some("::".parse().expect("valid")));
        assert_eq!(host_address(Some("nonsense")), None);
    }

    #[test]
    fn what_a_stopped_container_will_publish_is_read() {
        let details: ContainerInspectResponse = serde_json::from_str(
            r#"{"HostConfig": {"PortBindings": {
                "5432/tcp": [{"HostIp": "", "HostPort": "15432"}],
                "53/udp": [{"HostIp": "127.0.0.1", "HostPort": "53"}, {"HostIp": "", "HostPort": ""}],
                "9/tcp": null}}}"#,
        )
        .expect("valid");
        let seen: Vec<_> = configured_ports(&details)
            .iter()
            .map(|p| {
                format!("{}:{}->{}/{}", p.host_address, p.host_port, p.container_port, p.protocol)
            })
            .collect();
        assert_eq!(seen, ["0.0.0.0:15432->5432/tcp", "127.0.0.1:53->53/udp"]);
    }
}
