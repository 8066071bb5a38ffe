//! Plans of a web server with Docker, as tests of the reports need them.

use crate::analyze::Decider;
use crate::guard::{Cause, Caution, Findings, Lost, Refusal, What};
use crate::model::nft::build;
use crate::model::nft::{
    Chain, Element, ElementKey, Elements, Family, KeyType, Rule, Set, SetData, SetFlags, Table,
    Verdict as NftVerdict,
};
use crate::model::{Bind, Endpoint, IpFamily, Owner, PortRange, Protocol, ServedBy, ZoneRef};
use crate::plan::{
    DecidedBy, Edit, EndpointExposure, ExpectationResult, FORMAT, Marker, Notice, Outcome, Place,
    Plan, Verdict, ZoneReach,
};
use crate::policy::Origin;

pub fn origin(file: &str, line: u32) -> Origin {
    Origin { file: file.to_owned(), line }
}

fn zone(name: &str) -> ZoneRef {
    ZoneRef::from(name.parse::<crate::model::ZoneName>().expect("a name"))
}

pub fn endpoint(protocol: Protocol, port: u16, bind: Bind, served_by: ServedBy) -> Endpoint {
    Endpoint {
        protocol,
        ports: PortRange::single(port).expect("a port"),
        bind,
        device: None,
        owner: Owner::default(),
        served_by,
    }
}

fn process(name: &str, unit: &str) -> Owner {
    Owner { process: Some(name.to_owned()), unit: Some(unit.to_owned()), container: None }
}

fn container(name: &str) -> Owner {
    Owner { process: None, unit: None, container: Some(name.to_owned()) }
}

/// From a zone: before, after, why and where that is written.
type Fate<'a> = (&'a str, Verdict, Verdict, DecidedBy, &'a [Origin]);

fn exposure(mut endpoint: Endpoint, owner: Owner, fates: &[Fate<'_>]) -> EndpointExposure {
    endpoint.owner = owner;
    let families: &[IpFamily] = match endpoint.bind {
        Bind::Any => &IpFamily::BOTH,
        one if one.address().is_ipv4() => &IpFamily::BOTH[..1],
        _ => &IpFamily::BOTH[1..],
    };
    let reach = |family: IpFamily| {
        fates.iter().map(move |(name, before, after, decided_by, origins)| ZoneReach {
            zone: zone(name),
            family,
            before: *before,
            after: *after,
            policy: *after,
            decided_by: *decided_by,
            origins: origins.to_vec(),
            neighbour: None,
            depends_on: Vec::new(),
            witness: None,
        })
    };
    EndpointExposure { endpoint, reach: families.iter().flat_map(|one| reach(*one)).collect() }
}

fn marker(generation: u32) -> Marker {
    Marker { generation, digest: format!("{generation:064x}") }
}

/// What nobody filtered until now.
fn doors(before: impl Fn(&str, Verdict) -> Verdict) -> Vec<EndpointExposure> {
    use DecidedBy::{Allow, ContainerNetwork, Default, Deny, Loopback};
    use Verdict::{Closed, Limited, Open};
    let (ssh, web, admin) =
        ([origin("web-server", 9)], [origin("web-server", 14)], [origin("policy.toml", 12)]);
    let deny = [origin("web-server", 21)];
    let db = [origin("policy.toml", 17)];
    let all = |after: Verdict,
               why: DecidedBy,
               origins: &[Origin]|
     -> Vec<(String, Verdict, DecidedBy, Vec<Origin>)> {
        ["internet", "admin", "lan", "containers"]
            .map(|name| (name.to_owned(), after, why, origins.to_vec()))
            .into()
    };
    let mut set = Vec::new();
    let mut add = |key: &str,
                   endpoint: Endpoint,
                   owner: Owner,
                   fates: Vec<(String, Verdict, DecidedBy, Vec<Origin>)>| {
        let mut full: Vec<Fate<'_>> = fates
            .iter()
            .map(|(name, after, why, origins)| {
                let earlier = if matches!(why, Loopback) { Closed } else { before(key, *after) };
                (name.as_str(), earlier, *after, *why, origins.as_slice())
            })
            .collect();
        full.push(("host", Open, Open, Default, &[]));
        set.push(exposure(endpoint, owner, &full));
    };
    let tcp = |port, bind| endpoint(Protocol::TCP, port, bind, ServedBy::HostSocket);
    let address = |text: &str| Bind::Address(text.parse().expect("an address"));

    let mut fates = all(Limited, Allow, &ssh);
    fates[1] = ("admin".to_owned(), Open, Allow, [&admin[..], &ssh[..]].concat());
    add("ssh", tcp(22, Bind::Any), process("sshd", "ssh.service"), fates);
    for port in [80, 443] {
        add("web", tcp(port, Bind::Any), process("nginx", "nginx.service"), all(Open, Allow, &web));
    }
    let mut fates = all(Closed, Default, &[]);
    fates[0] = ("internet".to_owned(), Closed, Deny, deny.to_vec());
    fates[2] = ("lan".to_owned(), Open, Allow, db.to_vec());
    add("db", tcp(3306, Bind::Any), process("mariadbd", "mariadb.service"), fates.clone());
    let published = ServedBy::Published { to: "172.18.0.2".parse().ok(), to_port: 5432 };
    fates[2] = ("lan".to_owned(), Closed, Default, Vec::new());
    add(
        "db",
        endpoint(Protocol::TCP, 5432, Bind::AnyIpv4, published),
        container("db"),
        fates.clone(),
    );
    for bind in [Bind::AnyIpv4, Bind::AnyIpv6] {
        add(
            "db",
            endpoint(Protocol::TCP, 5432, bind, ServedBy::Proxy),
            container("db"),
            fates.clone(),
        );
    }
    let proxy = endpoint(Protocol::TCP, 8080, address("127.0.0.1"), ServedBy::Proxy);
    add("lo", proxy, container("grafana"), all(Closed, Loopback, &[]));
    for (port, ip, name) in [(5432, "172.18.0.2", "db"), (3000, "172.18.0.3", "grafana")] {
        let routed = ServedBy::Routed { network: "backend".to_owned() };
        let own = endpoint(Protocol::TCP, port, address(ip), routed);
        add("routed", own, container(name), all(Closed, ContainerNetwork, &[]));
    }
    let resolver = endpoint(Protocol::UDP, 53, address("127.0.0.53"), ServedBy::HostSocket);
    let owner = process("systemd-resolve", "systemd-resolved.service");
    add("lo", resolver, owner, all(Closed, Loopback, &[]));
    set
}

fn plan(outcome: Outcome, live: Option<Marker>, desired: Marker) -> Plan {
    Plan {
        format: FORMAT.to_owned(),
        taken_at: "2026-03-14T09:26:53Z".parse().expect("a time"),
        host: "web1".to_owned(),
        outcome,
        live,
        desired,
        table: table(),
        edits: Vec::new(),
        drift: Vec::new(),
        exposure: Vec::new(),
        expectations: vec![ExpectationResult {
            origin: origin("web-server", 26),
            says: "from internet: open ssh, http, https; closed databases".to_owned(),
            failures: Vec::new(),
        }],
        established: Vec::new(),
        notices: Vec::new(),
    }
}

/// The first apply on a host that nobody filters.
pub fn first() -> Plan {
    let mut plan = plan(Outcome::Create, None, marker(1));
    plan.edits = creation(&plan.table);
    plan.exposure = doors(|_, _| Verdict::Open);
    plan.notices.push(Notice {
        id: "carried-connections".to_owned(),
        message: "Nothing on this host tracks connections yet: the 3 that are open now are \
                  admitted by their addresses and ports until they end, so that none is cut."
            .to_owned(),
    });
    plan
}

/// A database that is let into the LAN, and an expectation that this breaks.
pub fn change() -> Plan {
    let mut plan = plan(Outcome::Update, Some(marker(3)), marker(4));
    plan.edits = changes();
    plan.exposure = doors(|key, after| match (key, after) {
        ("db", _) => Verdict::Closed,
        ("web", _) => Verdict::Partial,
        (_, after) => after,
    });
    // IPv6 of the published database was open until now.
    for one in &mut plan.exposure {
        if one.endpoint.bind == Bind::AnyIpv6 {
            one.reach.iter_mut().for_each(|reach| reach.before = Verdict::Open);
        }
    }
    // A neighbour lets nobody of the internet dial 443 over IPv4, and nobody knows about one port.
    for one in &mut plan.exposure {
        for reach in &mut one.reach {
            let internet = (reach.zone == ZoneRef::Internet, reach.family);
            if one.endpoint.ports.first() == 443 && internet == (true, IpFamily::Ipv4) {
                (reach.after, reach.decided_by) = (Verdict::Closed, DecidedBy::Neighbour);
                reach.neighbour = Some(Decider {
                    table: "ip filter".to_owned(),
                    chain: "ufw-user-input".to_owned(),
                    rule: "tcp dport 443 counter drop".to_owned(),
                    handle: Some(7),
                });
            }
            if one.endpoint.ports.first() == 80 && internet == (true, IpFamily::Ipv6) {
                (reach.after, reach.decided_by) = (Verdict::Unknown, DecidedBy::Unclear);
                reach.depends_on = vec!["xt match string".to_owned()];
            }
        }
    }
    plan.expectations.push(ExpectationResult {
        origin: origin("policy.toml", 30),
        says: "from lan: closed databases".to_owned(),
        failures: vec!["3306/tcp (mariadbd) is open from lan; policy.toml:17 allows it".to_owned()],
    });
    plan
}

/// Nothing to do.
pub fn unchanged() -> Plan {
    let mut plan = plan(Outcome::Unchanged, Some(marker(4)), marker(4));
    plan.exposure = doors(|_, after| after);
    plan
}

fn rule(statements: Vec<crate::model::nft::Statement>, comment: &str) -> Rule {
    Rule::new(statements, Some(comment.to_owned()))
}

fn dials(port: u16) -> crate::model::nft::Statement {
    build::port_in(build::dport(), PortRange::single(port).expect("a port"))
}

fn marker_rule(generation: u32) -> Rule {
    rule(vec![build::accept()], &format!("generation {generation}"))
}

fn prefixes(count: u32) -> Vec<Element> {
    let network = |index: u32| (0xC633_6400 + index * 4).to_be_bytes();
    let last = |index: u32| (0xC633_6400 + index * 4 + 3).to_be_bytes();
    (0..count)
        .map(|index| Element::new(ElementKey::Interval(network(index).into(), last(index).into())))
        .collect()
}

fn port(number: u16, chain: &str) -> Element {
    let key = ElementKey::Value(number.to_be_bytes().into());
    Element::verdict(key, NftVerdict::Goto(chain.to_owned()))
}

/// A table in the manner of fwctl's own.
fn table() -> Table {
    let set = |name: &str, key, data, interval, elements| Set {
        name: name.to_owned(),
        handle: 0,
        key: vec![key],
        key_len: 0,
        data,
        flags: SetFlags { interval, ..SetFlags::default() },
        size: None,
        timeout: None,
        comment: None,
        statements: Vec::new(),
        elements: Elements::Listed(elements),
    };
    let ports = vec![port(22, "tcp_22"), port(3306, "tcp_3306")];
    let chain = |name: &str, rules| Chain { rules, ..Chain::new(name) };
    Table {
        chains: vec![
            chain("generation", vec![marker_rule(1)]),
            chain("tcp_22", vec![rule(vec![build::accept()], "web-server:9 allow ssh")]),
        ],
        sets: vec![
            set("input_tcp_ports", KeyType::InetService, Some(SetData::Verdict), true, ports),
            set("blocklist_4", KeyType::Ipv4Addr, None, true, prefixes(3)),
        ],
        ..Table::new(Family::Inet, "fwctl")
    }
}

fn creation(table: &Table) -> Vec<Edit> {
    let mut edits = vec![Edit::AddTable];
    edits.extend(table.sets.iter().map(|set| Edit::AddSet { set: set.clone() }));
    for chain in &table.chains {
        edits.push(Edit::AddChain { chain: Chain::new(&chain.name) });
        edits.extend(chain.rules.iter().map(|rule| Edit::AddRule {
            chain: chain.name.clone(),
            place: Place::End,
            rule: rule.clone(),
        }));
    }
    edits
}

/// The database's port gets a chain of its own, a rule is replaced, a block-list grows.
fn changes() -> Vec<Edit> {
    let lan = "192.168.0.0/16".parse().expect("a prefix");
    let from_lan = vec![
        build::nfproto(IpFamily::Ipv4),
        build::in_prefix(build::saddr(IpFamily::Ipv4), lan),
        build::counter(),
        build::accept(),
    ];
    let add =
        |chain: &str, rule| Edit::AddRule { chain: chain.to_owned(), place: Place::End, rule };
    let delete = |chain: &str, rule| Edit::DeleteRule { chain: chain.to_owned(), rule };
    let set = "input_tcp_ports".to_owned();
    vec![
        Edit::AddChain { chain: Chain::new("tcp_3306") },
        add("tcp_3306", rule(from_lan, "policy.toml:17 allow mysql")),
        delete("tcp_22", rule(vec![build::accept()], "web-server:8 allow ssh")),
        add("tcp_22", rule(vec![build::counter(), build::accept()], "web-server:9 allow ssh")),
        Edit::AddElements { set, elements: vec![port(3306, "tcp_3306")] },
        Edit::AddElements { set: "blocklist_4".to_owned(), elements: prefixes(100_000) },
        Edit::DeleteElements { set: "blocklist_4".to_owned(), elements: prefixes(2) },
        delete("generation", marker_rule(3)),
        add("generation", marker_rule(4)),
    ]
}

/// The table as fwctl left it, but for a rule that is gone, one that was put in, and elements.
pub fn drifted() -> Plan {
    let mut plan = unchanged();
    plan.outcome = Outcome::Update;
    let stranger =
        Rule::new(vec![build::l4proto(Protocol::TCP), dials(3306), build::accept()], None);
    plan.drift = vec![
        Edit::AddRule {
            chain: "tcp_22".to_owned(),
            place: Place::First,
            rule: rule(vec![build::accept()], "web-server:9 allow ssh"),
        },
        Edit::DeleteRule { chain: "input".to_owned(), rule: stranger },
        Edit::DeleteElements { set: "blocklist_4".to_owned(), elements: prefixes(1) },
    ];
    plan.edits.clone_from(&plan.drift);
    plan
}

/// Edits that add three elements, one of which only mends what was changed by hand.
pub fn mixed() -> (Vec<Edit>, Vec<Edit>) {
    let add = |elements| Edit::AddElements { set: "blocklist_4".to_owned(), elements };
    (vec![add(prefixes(3))], vec![add(prefixes(1))])
}

/// Two ways in that the plan would close, one that a neighbour keeps closed, and one with a but.
pub fn refused() -> Findings {
    let port = "2222/tcp".parse().expect("a port");
    let lost = |what, from: &str, cause| {
        let witness = Some("192.0.2.20".to_owned());
        let lost = Lost { what, from: from.to_owned(), port, witness, cause };
        Refusal::Lost(Box::new(lost))
    };
    let end = |text: &str| text.parse().expect("an address and a port");
    let session = What::Session {
        remote: end("192.0.2.20:50000"),
        dialled: end("192.0.2.10:2222"),
        own: true,
        user: Some("alice".to_owned()),
    };
    let rule = Decider {
        table: "ip filter".to_owned(),
        chain: "ufw-user-input".to_owned(),
        rule: "tcp dport 2222 drop".to_owned(),
        handle: Some(7),
    };
    let neighbour = Cause::Neighbour { rule, manager: Some("ufw") };
    let origin = origin("policy.toml", 31);
    Findings {
        refusals: vec![
            lost(session, "192.0.2.20", Cause::NoRule),
            lost(What::Listener(end("0.0.0.0:2222")), "192.0.2.20", Cause::NoRule),
            lost(What::Listener(end("[::]:2222")), "lan", neighbour),
            // It stands in a section of its own.
            Refusal::Expectation { origin, failure: "internet reaches 3306/tcp".to_owned() },
        ],
        cautions: vec![Caution::OneAddress {
            source: "192.0.2.20".parse().expect("an address"),
            within: "192.0.2.20/32".parse().expect("a prefix"),
            port,
        }],
    }
}
