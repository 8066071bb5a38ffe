//! Lock-outs on a whole host, over real SSH sessions: each is refused, and what the refusal says to
//! do lets it through. And what a plan predicts beside Docker and ufw is what clients then see.

#![allow(clippy::unwrap_used)]

mod host;
mod net;

use fwctl::model::{IpFamily, Protocol, ServedBy, ZoneRef};
use fwctl::plan::{Plan, Verdict};
use host::Host;
use net::{Answer, HOST_LAN_V4, HOST_LAN_V6, HOST_WAN_V4, HOST_WAN_V6, Probe, Session};

const POLICY: &str = "/etc/fwctl/policy.toml";
const APPLY: &str = "fwctl apply --no-confirm --yes; echo exit $?";

/// The TOML that a refusal says to add.
fn fix(answer: &str) -> String {
    let keys = ["[[allow]]", "[zone.", "ports ", "from ", "interfaces ", "addresses "];
    let lines = answer.lines().map(str::trim);
    let lines = lines.filter(|line| keys.iter().any(|key| line.starts_with(key)));
    lines.fold(String::new(), |text, line| text + line + "\n")
}

/// Refused with exit 4; pasted in, the fix lets it through, and the session goes on. Takes our
/// table out again.
fn refused_until_mended(host: &Host, ssh: &mut Session, policy: &str) -> String {
    let policy = format!("version = 1\n{policy}");
    host.write(POLICY, &policy);
    let plan = ssh.ask("fwctl plan; echo exit $?");
    let answer = ssh.ask(APPLY);
    assert!(answer.ends_with("exit 4"), "{answer}");
    assert!(!host.sh("nft list tables").contains("fwctl"), "refused, and yet changed");
    // Whoever reads the plan knows it beforehand.
    assert!(plan.contains("The guard would refuse this") && plan.ends_with("exit 0"), "{plan}");
    assert!(fix(&answer).lines().all(|line| plan.contains(line)), "{plan}\n{answer}");
    host.write(POLICY, &format!("{policy}\n{}", fix(&answer)));
    let mended = ssh.ask(APPLY);
    assert!(mended.ends_with("exit 0"), "{answer}\n{mended}");
    assert_eq!(ssh.ask("echo on"), "on");
    host.sh("fwctl off --no-confirm --yes");
    answer
}

#[test]
fn lock_outs_are_refused_and_what_is_said_mends_them() {
    let host = Host::without_docker();
    let web = "[[allow]]\nservice = [\"http\"]\n";
    let mut ssh = host.ssh(&host.lab.internet, HOST_WAN_V4);
    let answer = refused_until_mended(&host, &mut ssh, web);
    assert!(answer.contains("your own SSH session") && answer.contains("22"), "{answer}");
    // By a zone: the session comes by another interface.
    let zone =
        "[zone.near]\ninterfaces = [\"lan0\"]\n[[allow]]\nservice = [\"ssh\"]\nfrom = [\"near\"]\n";
    refused_until_mended(&host, &mut ssh, zone);
    // By a neighbour's rule, which no TOML mends: the command does that is shown.
    host.lab.host.nft(
        "table inet mine { chain in { type filter hook input priority 5; \
         tcp dport 22 ct state new drop; }\n }",
    );
    host.write(POLICY, "version = 1\n[[allow]]\nservice = [\"ssh\"]\n");
    let answer = ssh.ask(APPLY);
    assert!(answer.ends_with("exit 4") && fix(&answer).is_empty(), "{answer}");
    let words = answer.split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, command) = words.split_once("`nft delete rule inet mine in handle ").expect(&words);
    let handle = command.split('`').next().unwrap();
    host.sh(&format!("nft delete rule inet mine in handle {handle}"));
    let answer = ssh.ask(APPLY);
    assert!(answer.ends_with("exit 0"), "{answer}");
    host.sh("fwctl off --no-confirm --yes; nft delete table inet mine");
    drop(ssh);
    // Over IPv6 only.
    let mut ssh = host.ssh(&host.lab.internet, HOST_WAN_V6);
    let only = "[[allow]]\nservice = [\"ssh\"]\nfrom = [\"0.0.0.0/0\"]\n";
    let answer = refused_until_mended(&host, &mut ssh, only);
    assert!(answer.contains("2001:db8:1::1"), "{answer}");
}

#[test]
fn sshd_elsewhere_redirected_or_activated_by_its_socket_is_not_locked_out() {
    let host = Host::without_docker();
    let ssh_allowed = "[[allow]]\nservice = [\"ssh\"]\n";
    // A redirect: who dials 2222 comes to sshd on 22, and 2222 is what counts.
    host.lab.host.nft(
        "table inet turn { chain pre { type nat hook prerouting priority dstnat; \
         tcp dport 2222 redirect to :22; }\n }",
    );
    let log_in = |host: &Host| {
        let mut client = host.ssh_command(
            &host.lab.internet,
            ("root", HOST_WAN_V4),
            "-p 2222",
            "fwctl apply --no-confirm --yes 2>&1; echo exit $?",
        );
        String::from_utf8(client.output().unwrap().stdout).unwrap()
    };
    let mended = |host: &Host, policy: &str| {
        let policy = format!("version = 1\n{policy}");
        host.write(POLICY, &policy);
        let answer = log_in(host);
        assert!(answer.trim_end().ends_with("exit 4"), "{answer}");
        assert!(fix(&answer).contains("2222/tcp"), "{answer}");
        host.write(POLICY, &format!("{policy}\n{}", fix(&answer)));
        let mended = log_in(host);
        assert!(mended.trim_end().ends_with("exit 0"), "{answer}\n{mended}");
        host.sh("fwctl off --no-confirm --yes");
    };
    mended(&host, ssh_allowed);
    host.sh("nft delete table inet turn");
    // On a port of its own.
    host.sh("echo 'Port 2222' > /etc/ssh/sshd_config.d/port.conf && systemctl restart ssh");
    mended(&host, ssh_allowed);
    // systemd holds the socket: nobody but PID 1 listens.
    host.sh("rm /etc/ssh/sshd_config.d/port.conf && systemctl stop ssh && \
         mkdir -p /etc/systemd/system/ssh.socket.d && \
         printf '[Socket]\\nListenStream=\\nListenStream=2222\\n' \
         > /etc/systemd/system/ssh.socket.d/port.conf && \
         systemctl daemon-reload && systemctl start ssh.socket");
    mended(&host, ssh_allowed);
}

#[test]
fn what_a_plan_predicts_beside_docker_and_ufw_is_what_clients_see() {
    let host = Host::boot();
    host.docker_run("db", "-p 5432:5432", 5432);
    host.docker_run("cache", "-p 6379:6379", 6379);
    host.sh("ufw --force enable && ufw allow 22/tcp && ufw allow 80/tcp");
    host.write(
        POLICY,
        "version = 1\n[zone.lan]\ninterfaces = [\"lan0\"]\n\
         [[allow]]\nservice = [\"ssh\", \"http\", \"https\"]\n\
         [[allow]]\nports = [\"5432/tcp\"]\nfrom = [\"lan\"]\n",
    );
    let plan: Plan = serde_json::from_str(&host.sh("fwctl plan --format json")).unwrap();
    compare(&host, &plan, "now", |reach| reach.before);
    host.sh("fwctl apply --no-confirm --yes");
    let (open, closed) = compare(&host, &plan, "after", |reach| reach.after);
    assert!(open >= 8 && closed >= 8, "too few of both: {open}, {closed}");
    // ufw keeps 443 closed although the policy opens it; both are told.
    let kept = plan.exposure.iter().filter(|own| own.endpoint.ports.first() == 443);
    let kept = kept.flat_map(|own| &own.reach).filter(|reach| reach.zone != ZoneRef::Containers);
    let kept: Vec<_> = kept.collect();
    assert_eq!(kept.len(), 4, "two zones over two IP versions");
    for reach in kept {
        assert_eq!((reach.policy, reach.after), (Verdict::Open, Verdict::Closed), "{reach:?}");
        assert!(reach.neighbour.is_some(), "{reach:?}");
    }
}

/// Dials every TCP port of the plan from the zones that it speaks of; how many were open and not.
fn compare(
    host: &Host,
    plan: &Plan,
    when: &str,
    verdict: impl Fn(&fwctl::plan::ZoneReach) -> Verdict,
) -> (usize, usize) {
    let lan = ZoneRef::Declared("lan".parse().unwrap());
    let mut asked = Vec::new();
    for own in &plan.exposure {
        let endpoint = &own.endpoint;
        let routed = matches!(endpoint.served_by, ServedBy::Routed { .. });
        let bound = matches!(endpoint.bind, fwctl::model::Bind::Address(_));
        if endpoint.protocol != Protocol::TCP || routed || bound {
            continue;
        }
        for reach in &own.reach {
            let (from, addresses) = if reach.zone == ZoneRef::Internet {
                (&host.lab.internet, [HOST_WAN_V4, HOST_WAN_V6])
            } else if reach.zone == lan {
                (&host.lab.lan, [HOST_LAN_V4, HOST_LAN_V6])
            } else {
                continue;
            };
            let to = addresses[usize::from(reach.family == IpFamily::Ipv6)];
            let open = match verdict(reach) {
                Verdict::Open => true,
                Verdict::Closed => false,
                other => panic!("{when}: {other:?} for {endpoint:?} from {}", reach.zone),
            };
            asked.push((Probe::tcp(from, (to, endpoint.ports.first())), open, reach));
        }
    }
    let probes: Vec<Probe<'_>> = asked.iter().map(|(probe, ..)| probe.clone()).collect();
    for ((probe, open, reach), answer) in asked.iter().zip(net::observe(&probes)) {
        assert_eq!(answer == Answer::Open, *open, "{when}, {probe}: {answer:?}; {reach:#?}");
    }
    let open = asked.iter().filter(|(_, open, _)| *open).count();
    (open, asked.len() - open)
}
