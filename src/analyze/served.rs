//! Whether, and by which way, a packet comes to an endpoint.

use super::{End, Fate};
use crate::model::{Bind, Endpoint, ServedBy};

/// Whether a packet that ends so comes to the endpoint.
pub(super) fn serves(endpoint: &Endpoint, end: &End) -> bool {
    let (to, port) = (end.state.env.destination, end.state.env.port);
    let local = end.fate == Fate::Delivered;
    let here = port.is_some_and(|port| endpoint.ports.contains(port));
    match &endpoint.served_by {
        ServedBy::HostSocket | ServedBy::Proxy => local && here && endpoint.bind.covers(to),
        ServedBy::Published { to: own, to_port } => {
            let forwarded = matches!(end.fate, Fate::Forwarded(_));
            forwarded && (*own).is_none_or(|own| own == to) && port == Some(*to_port)
        }
        ServedBy::Routed { .. } => {
            matches!(end.fate, Fate::Forwarded(_)) && here && endpoint.bind == Bind::Address(to)
        }
    }
}

/// By which way it is served.
pub(super) fn path(listener: Option<&Endpoint>, ends: &[End]) -> String {
    let passing = ends.iter().find(|end| end.fate.passes());
    let translated = passing.filter(|end| end.state.translated_by.is_some()).map(|end| {
        let env = &end.state.env;
        match env.port {
            Some(port) => format!("NAT to {}", std::net::SocketAddr::new(env.destination, port)),
            None => format!("NAT to {}", env.destination),
        }
    });
    let nowhere = ends.iter().find_map(|end| match end.fate {
        Fate::Nowhere(why) if passing.is_none() => Some(why),
        _ => None,
    });
    let loopback = |own: &Endpoint| matches!(own.bind, Bind::Address(own) if own.is_loopback());
    if listener.is_some_and(loopback) && passing.is_none() {
        return "bound to loopback".to_owned();
    }
    if let Some(why) = nowhere {
        return why.to_string();
    }
    translated.unwrap_or_else(|| match listener.map(|own| &own.served_by) {
        None => "to the host".to_owned(),
        Some(ServedBy::HostSocket) => "host socket".to_owned(),
        Some(ServedBy::Proxy) => "engine's proxy".to_owned(),
        Some(ServedBy::Published { .. }) => "published, without NAT".to_owned(),
        Some(ServedBy::Routed { network }) => format!("routed into network {network}"),
    })
}
