//! Plans in files: what they hold is applied as it was reviewed, or it is said what has moved.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "guard/support.rs"]
mod support;

use fwctl::model::nft::Table;
use fwctl::model::{Owner, Protocol};
use fwctl::observe::{Snapshot, Socket};
use fwctl::plan::{Moved, Plan, Saved, SavedError, moved, plan};
use support::{host, policy};

const WEB: &str = "use = [\"web-server\"]\n[zone.office]\naddresses = [\"198.51.100.0/24\"]\n\
                   [[allow]]\nservice = [\"postgresql\"]\nfrom = [\"office\"]\n";

fn planned(host: &Snapshot) -> Plan {
    plan(&policy(WEB), host).unwrap()
}

/// What has moved from the host as it was to this one.
fn since(change: impl Fn(&mut Snapshot)) -> Vec<Moved> {
    let mut now = host();
    change(&mut now);
    moved(&planned(&host()), &planned(&now), &now.sysctls)
}

fn socket(protocol: Protocol, local: &str) -> Socket {
    support::socket(protocol, local, "new")
}

#[test]
fn a_saved_plan_is_read_back_whole_and_only_as_it_was_written() {
    let saved = Saved::new(policy(WEB), planned(&host()));
    let text = saved.to_json();
    assert_eq!(Saved::from_json(&text).unwrap(), saved);
    let altered = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        Saved::from_json(&text.replacen(from, to, 1)).unwrap_err()
    };
    // A port of the policy, a rule of the table, an answer that a reviewer has read.
    for (from, to) in [("5432", "5433"), ("\"ct\"", "\"meta\""), ("\"closed\"", "\"open\"")] {
        let error = altered(from, to);
        assert!(matches!(error, SavedError::Altered | SavedError::Foreign(Some(_))), "{error}");
    }
    assert!(matches!(altered("saved-plan/1", "saved-plan/2"), SavedError::Foreign(None)));
    let torn = Saved::from_json(&text[..text.len() / 2]).unwrap_err();
    assert!(matches!(torn, SavedError::Foreign(Some(_))), "{torn}");
    let other = Saved::from_json(&host().to_json()).unwrap_err();
    assert!(matches!(other, SavedError::Foreign(None)), "{other}");
}

#[test]
fn what_does_not_matter_moves_nothing() {
    assert_eq!(since(|_| {}), []);
    let quiet = since(|host| {
        host.taken_at = "2026-12-24T18:00:00Z".parse().unwrap();
        host.last_generation = 7;
        // Somebody asks a name server, and a service is gone.
        host.sockets.push(socket(Protocol::UDP, "0.0.0.0:40123"));
        host.sockets.retain(|socket| socket.local.port() != 3306);
        // Containers have started anew.
        for container in host.engines.iter_mut().flat_map(|engine| &mut engine.containers) {
            container.id = format!("{}0", container.id);
        }
    });
    assert_eq!(quiet, []);
}

#[test]
fn what_a_reader_would_not_know_has_moved() {
    let [other] = &since(|host| host.host.name = "other".to_owned())[..] else { panic!() };
    assert!(matches!(other, Moved::Host { now, .. } if now == "other"), "{other:?}");

    // A new service, which the plan would close.
    let found = since(|host| host.sockets.push(socket(Protocol::TCP, "0.0.0.0:8443")));
    assert!(matches!(&found[..], [Moved::Served(own)] if own.ports.first() == 8443), "{found:?}");
    let found = since(|host| host.sockets.push(socket(Protocol::UDP, "0.0.0.0:514")));
    assert!(matches!(&found[..], [Moved::Served(_)]), "{found:?}");

    // Somebody else serves it.
    let found = since(|host| {
        for socket in host.sockets.iter_mut().filter(|own| own.local.port() == 443) {
            socket.owners = std::sync::Arc::new([Owner {
                process: Some("evil".to_owned()),
                ..Owner::default()
            }]);
        }
    });
    assert!(found.iter().all(|own| matches!(own, Moved::Owner { .. })), "{found:?}");
    assert!(!found.is_empty());

    // A neighbour closes a port.
    let found = since(|host| {
        let drop = serde_json::json!({
            "family": "inet", "name": "mine", "handle": 99,
            "chains": [{
                "name": "in", "handle": 1,
                "hook": {
                    "kind": "filter", "hook": "input", "devices": [], "priority": 5,
                    "policy": "accept"
                },
                "rules": [{ "handle": 7, "comment": null, "statements": [
                    { "compare": {
                        "left": [{ "selector": { "payload": {
                            "base": "transport", "offset": 2, "len": 2
                        } } }],
                        "op": "eq", "right": "01bb"
                    } },
                    { "verdict": "drop" }
                ] }]
            }]
        });
        host.ruleset.tables.push(serde_json::from_value::<Table>(drop).unwrap());
    });
    let https =
        |own: &Moved| matches!(own, Moved::Reach { endpoint, .. } if endpoint.ports.first() == 443);
    assert!(!found.is_empty() && found.iter().all(https), "{found:?}");
    let words = fwctl::report::plan::moved(&found[0]);
    assert!(
        words.contains("443/tcp from ") && words.ends_with("now is closed → closed"),
        "{words}"
    );

    // The table is another one: a bridge carries an uplink now.
    let found = since(|host| {
        let bridge = host.links.iter().find(|link| link.name.to_string() == "docker0").unwrap();
        let master = Some(bridge.name.clone());
        let uplink = host.links.iter_mut().find(|link| link.name.to_string() == "lan0").unwrap();
        uplink.master = master;
        uplink.kind = fwctl::observe::LinkKind::Bond;
    });
    assert!(found.contains(&Moved::Table), "{found:?}");
}

#[test]
fn rules_of_ours_that_are_others_have_moved() {
    let mut in_force = host();
    in_force.ruleset.tables.push(planned(&host()).table);
    let ssh = policy("use = [\"ssh-only\"]\n");
    let reviewed = plan(&ssh, &host()).unwrap();
    let now = plan(&ssh, &in_force).unwrap();
    let found = moved(&reviewed, &now, &in_force.sysctls);
    assert!(found.contains(&Moved::Live { then: None, now: Some(1) }), "{found:?}");

    // By hand: the marker is as it was.
    let reviewed = plan(&ssh, &in_force).unwrap();
    assert_eq!(moved(&reviewed, &now, &in_force.sysctls), []);
    let mut by_hand = in_force.clone();
    by_hand.installed = Some(fwctl::observe::Installed {
        generation: 1,
        digest: planned(&host()).desired.digest,
        applied_at: in_force.taken_at,
        policy: policy(WEB),
        by: None,
        message: None,
        snapshot: None,
    });
    let known = plan(&ssh, &by_hand).unwrap();
    let table = by_hand.ruleset.tables.last_mut().unwrap();
    table.chains.iter_mut().find(|chain| chain.name == "input").unwrap().rules.remove(0);
    let changed = plan(&ssh, &by_hand).unwrap();
    let found = moved(&known, &changed, &by_hand.sysctls);
    assert!(found.contains(&Moved::ByHand), "{found:?}");
    assert_eq!(moved(&changed, &changed.clone(), &by_hand.sysctls), []);
}
