//! Whole rulesets of shapes that programs write and people keep, each with what it means.
//!
//! The files of `tests/rulesets/` are loaded by nft or iptables into a host of its own. Their first
//! lines say what holds:
//!
//! ```text
//! # bridge NAME IPV4/LENGTH IPV6/LENGTH          the host has this bridge
//! # listen ADDRESS:PORT                          something listens there
//! # conditional WORD, WORD                       only statements with these are not exact
//! # VERDICT INTERFACE SOURCE DIALLED PORT/PROTO [ADDRESS:PORT]
//! ```

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod net;

use fwctl::analyze::{Analyzer, From, Packet, understood};
use fwctl::model::PortSpec;
use fwctl::observe::{Options, Snapshot, observe};
use net::Lab;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

fn load(lab: &Lab, file: &Path, text: &str) {
    let program = match file.extension().and_then(|own| own.to_str()).unwrap() {
        "nft" => return lab.host.nft(text),
        "v4" => "iptables-nft-restore",
        "v6" => "ip6tables-nft-restore",
        other => panic!("{other}"),
    };
    let mut command = lab.host.command(program);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{}", file.display());
}

/// What the lines of a file say does not hold.
fn wrong(snapshot: &Snapshot, said: &[&str]) -> Vec<String> {
    let mut wrong = Vec::new();
    let analyzer = Analyzer::new(snapshot);
    let all = understood(&snapshot.ruleset);
    let allowed: Vec<&str> = said
        .iter()
        .filter_map(|line| line.strip_prefix("conditional "))
        .flat_map(|list| list.split(", "))
        .collect();
    let names = |list: &[fwctl::analyze::Named]| -> Vec<String> {
        list.iter().map(|own| own.statement.clone()).collect()
    };
    println!("  {} of {} rules exactly", all.exact, all.rules);
    wrong.extend(names(&all.not_read).iter().map(|name| format!("not read: {name}")));
    let others = names(&all.conditional);
    let others = others.iter().filter(|name| !allowed.iter().any(|word| name.contains(word)));
    wrong.extend(others.map(|name| format!("conditional: {name}")));
    for line in said {
        let words: Vec<&str> = line.split(' ').collect();
        let [verdict, interface, source, dialled, port, to @ ..] = &words[..] else { continue };
        if !["open", "closed", "limited", "unknown"].contains(verdict) {
            continue;
        }
        let Ok(PortSpec::Ports(protocol, ports)) = port.parse() else { continue };
        let from = From::Interface(interface.parse().unwrap());
        let (source, dialled) = (source.parse().unwrap(), dialled.parse().unwrap());
        let packet = Packet::new(from, source, dialled, protocol, ports.first());
        let found = analyzer.explain(&packet, None);
        let is = format!("{:?}", found.verdict).to_lowercase();
        if is != **verdict {
            wrong.push(format!(
                "{line}: is {is}, depends on {:?}, {:?}",
                found.depends_on, found.decided_by
            ));
        }
        if let [to] = to {
            let ends = found.ends.iter().map(|end| (end.address, end.port));
            let ends: Vec<String> =
                ends.map(|(own, port)| format!("{own}:{}", port.unwrap_or(0))).collect();
            if !ends.iter().any(|end| end == to) {
                wrong.push(format!("{line}: ends at {ends:?}"));
            }
        }
    }
    wrong
}

#[test]
fn rulesets_mean_what_their_first_lines_say() {
    let mut files: Vec<_> =
        std::fs::read_dir("tests/rulesets").unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut all = Vec::new();
    for file in &files {
        println!("{}", file.display());
        let text = std::fs::read_to_string(file).unwrap();
        let said: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("# ")).collect();
        let lab = Lab::new();
        for bridge in said.iter().filter_map(|line| line.strip_prefix("bridge ")) {
            let words: Vec<&str> = bridge.split(' ').collect();
            lab.bridge(words[0], words[1], words[2]);
        }
        for (setting, value) in [("all/rp_filter", "0"), ("wan0/rp_filter", "0")] {
            lab.host.sysctl(&format!("ipv4/conf/{setting}"), value);
        }
        let listen = said.iter().filter_map(|line| line.strip_prefix("listen "));
        let _listeners: Vec<net::Listener> = listen.map(|at| lab.host.listen_tcp(at)).collect();
        load(&lab, file, &text);
        let options =
            Options { engines: Vec::new(), container_namespaces: false, ..Options::default() };
        let snapshot = lab.host.enter(|| observe(&options));
        // A snapshot holds all of it.
        let snapshot = Snapshot::from_json(&snapshot.to_json()).unwrap();
        for line in wrong(&snapshot, &said) {
            all.push(format!("{}: {line}", file.display()));
        }
    }
    assert!(files.len() >= 6, "the files are there");
    assert!(all.is_empty(), "{}", all.join("\n"));
}
