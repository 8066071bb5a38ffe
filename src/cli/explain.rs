//! `fwctl explain`: one connection through every hook, rule by rule.

use super::args::{CheckFormat, Global, Host};
use super::{Exit, failure::Failure, inputs, output, output::Output, paths::Paths};
use crate::analyze::{Analyzer, From, Packet};
use crate::model::{IfaceName, IpFamily, PortSpec, Protocol, ZoneName, ZoneRef};
use crate::policy::Policy;
use crate::report;
use std::net::IpAddr;

/// Shows one connection through every hook and rule of this host, in the kernel's order: what
/// matched, what rewrote it, and who decided. Changes nothing.
#[derive(Debug, clap::Args)]
pub struct Explain {
    /// From where: an address, or a zone of the policy (internet, containers and host are built in)
    #[arg(value_name = "FROM")]
    pub from: String,

    /// What is dialled: 443/tcp, 53/udp, icmp
    #[arg(value_name = "PORT/PROTO")]
    pub port: PortSpec,

    /// The dialled address [default: this host's where the connection comes in]
    #[arg(long, value_name = "ADDRESS")]
    pub to: Option<IpAddr>,

    /// The interface by which it comes [default: the one by which this host would answer]
    #[arg(long, value_name = "IFACE")]
    pub via: Option<IfaceName>,

    /// Which host.
    #[command(flatten)]
    pub host: Host,

    /// What to print
    #[arg(long, value_name = "text|json", default_value = "text", hide_possible_values = true)]
    pub format: CheckFormat,
}

/// Explains.
pub fn run(
    explain: &Explain,
    global: &Global,
    paths: &Paths,
    output: &Output,
) -> Result<Exit, Failure> {
    let (protocol, port) = dialled(explain.port)?;
    let zone =
        if explain.from.parse::<IpAddr>().is_ok() { None } else { Some(zone(&explain.from)?) };
    let policy = match &zone {
        Some(ZoneRef::Declared(_)) => Some(inputs::policy(global, paths, output.width)?),
        // Without a policy nothing is declared, and the internet is whatever comes from outside.
        Some(ZoneRef::Internet) if inputs::policy_path(global, paths).exists() => {
            Some(inputs::policy(global, paths, output.width)?)
        }
        _ => None,
    };
    let snapshot = inputs::snapshot(&explain.host, paths)?;
    let analyzer = Analyzer::new(&snapshot);
    let ways = ways(explain, &analyzer, policy.as_ref(), zone.as_ref())?;
    let Some((from, source, to)) = ways else {
        return Err(Failure::new(
            Exit::Failed,
            format!("nothing can come from {} to an address of this host", explain.from),
        )
        .state(inputs::UNTOUCHED)
        .hint("say which: --via IFACE is the way in, --to ADDRESS what is dialled"));
    };
    let protocol =
        if protocol == Protocol::ICMP && to.is_ipv6() { Protocol::ICMPV6 } else { protocol };
    let packet = Packet::new(from, source, to, protocol, port);
    let explanation = analyzer.explain(&packet, zone.map(|zone| zone.to_string()));
    output::data(&match explain.format {
        CheckFormat::Text => report::explain::text(&explanation, output.width),
        CheckFormat::Json => report::explain::json(&explanation),
    })?;
    Ok(Exit::Done)
}

fn usage(message: String) -> Failure {
    Failure::new(Exit::Usage, message).state(inputs::UNTOUCHED)
}

fn dialled(spec: PortSpec) -> Result<(Protocol, u16), Failure> {
    match spec {
        PortSpec::Ports(protocol, ports) if ports.first() == ports.last() => {
            Ok((protocol, ports.first()))
        }
        PortSpec::Protocol(protocol) => Ok((protocol, 0)),
        PortSpec::Ports(..) | PortSpec::All => Err(usage(format!(
            "`{spec}` is more than one connection: name one port, as in 443/tcp"
        ))),
    }
}

fn zone(name: &str) -> Result<ZoneRef, Failure> {
    Ok(match name {
        "internet" => ZoneRef::Internet,
        "containers" => ZoneRef::Containers,
        "host" => ZoneRef::Host,
        name => {
            let declared = name.parse::<ZoneName>();
            ZoneRef::Declared(declared.map_err(|_| {
                usage(format!("`{name}` is neither an address nor the name of a zone"))
            })?)
        }
    })
}

/// The way in, the source and the dialled address; `None` where there are none.
fn ways(
    explain: &Explain,
    analyzer: &Analyzer<'_>,
    policy: Option<&Policy>,
    zone: Option<&ZoneRef>,
) -> Result<Option<(From, IpAddr, IpAddr)>, Failure> {
    let via = explain.via.clone().map(From::Interface);
    let Some(zone) = zone else {
        let Ok(source) = explain.from.parse::<IpAddr>() else { return Ok(None) };
        let family = IpFamily::of(source);
        if explain.to.is_some_and(|to| IpFamily::of(to) != family) {
            return Err(usage(format!("{source} and --to are of two IP versions")));
        }
        let Some(from) = via.or_else(|| analyzer.way_of(source)) else { return Ok(None) };
        let to = explain.to.or_else(|| analyzer.dialled_at(&from, family));
        return Ok(to.map(|to| (from, source, to)));
    };
    if let (ZoneRef::Declared(name), Some(policy)) = (zone, policy)
        && !policy.zones.contains_key(name)
    {
        return Err(usage(format!("the policy declares no zone `{name}`")));
    }
    let families = explain.to.map_or(IpFamily::BOTH.to_vec(), |to| vec![IpFamily::of(to)]);
    for family in families {
        for arrival in analyzer.arrivals(policy, zone, family) {
            if via.as_ref().is_some_and(|via| *via != arrival.from) {
                continue;
            }
            let to = explain.to.or_else(|| analyzer.dialled_at(&arrival.from, family));
            if let (Some(source), Some(to)) = (arrival.first(family), to) {
                return Ok(Some((arrival.from, source, to)));
            }
        }
    }
    Ok(None)
}
