//! Rulesets that real programs write on a real host: each is read whole, what is understood exactly
//! is counted, and what the analysis says of it is what packets meet.

#![allow(clippy::unwrap_used)]

mod host;
mod net;

use fwctl::analyze::{Analyzer, From, Named, Packet, Reach, understood};
use fwctl::model::Protocol;
use fwctl::observe::Snapshot;
use host::{Host, Setup};
use net::{Answer, INTERNET_V4, INTERNET_V6, LAN_V4, LAN_V6, Probe};
use std::collections::BTreeSet;

/// TCP ports at which something listens on the host, or is published.
const PORTS: [u16; 7] = [22, 80, 443, 3306, 5432, 8080, 9];

fn snapshot(host: &Host) -> Snapshot {
    serde_json::from_str(&host.sh("fwctl snapshot")).unwrap()
}

/// The first words of statements, each once.
fn kinds(list: &[Named]) -> BTreeSet<String> {
    let words = |text: &str| text.split(' ').take(3).collect::<Vec<_>>().join(" ");
    list.iter().map(|own| words(&own.statement)).collect()
}

/// What is not exact in a program's rules, by name.
struct Told {
    rules: usize,
    conditional: BTreeSet<String>,
    not_read: BTreeSet<String>,
}

/// Reads the host, prints how much is understood, and holds the analysis against packets.
fn told(host: &Host, program: &str) -> Told {
    let seen = snapshot(host);
    assert!(!seen.warnings.iter().any(|own| own.subject == "nftables"), "{:?}", seen.warnings);
    let all = understood(&seen.ruleset);
    assert!(all.rules > 0, "{program} wrote no rules");
    let told = Told {
        rules: all.rules,
        conditional: kinds(&all.conditional),
        not_read: kinds(&all.not_read),
    };
    println!(
        "{program}: {} of {} rules exactly; conditional: {:?}; not read: {:?}",
        all.exact, all.rules, told.conditional, told.not_read
    );
    agrees_with_packets(host, &seen, program);
    told
}

fn agrees_with_packets(host: &Host, seen: &Snapshot, program: &str) {
    let analyzer = Analyzer::new(seen);
    let sources =
        [("wan0", INTERNET_V4), ("wan0", INTERNET_V6), ("lan0", LAN_V4), ("lan0", LAN_V6)];
    let mut asked = Vec::new();
    for ((client, address), (interface, source)) in host.clients().into_iter().zip(sources) {
        for port in PORTS {
            let from = From::Interface(interface.parse().unwrap());
            let packet = Packet::new(from, source, address, Protocol::TCP, port);
            let verdict = analyzer.explain(&packet, None).verdict;
            asked.push((Probe::tcp(client, (address, port)), verdict));
        }
    }
    let mut wrong = Vec::new();
    let mut open = 0;
    std::thread::scope(|scope| {
        let threads: Vec<_> = asked
            .iter()
            .map(|(probe, verdict)| (scope.spawn(|| probe.ask()), probe, verdict))
            .collect();
        for (thread, probe, verdict) in threads {
            let answer = thread.join().unwrap();
            open += usize::from(answer == Answer::Open);
            let agrees = match verdict {
                // Where nobody listens a packet that gets through is refused by the host itself.
                Reach::Open | Reach::Limited => matches!(answer, Answer::Open | Answer::Refused),
                Reach::Closed => answer != Answer::Open,
                Reach::Partial | Reach::Unknown => true,
            };
            if !agrees {
                wrong.push(format!("{probe}: said {verdict:?}, met {answer:?}"));
            }
        }
    });
    let known = asked.iter().filter(|(_, verdict)| *verdict != Reach::Unknown).count();
    println!("  {known} of {} answers known, {open} ports open", asked.len());
    assert!(wrong.is_empty(), "{program}:\n{}", wrong.join("\n"));
}

/// Takes every rule out of the host's namespace, those of legacy iptables too.
fn flush(host: &Host) {
    host.sh("nft flush ruleset
         for family in iptables ip6tables; do
           names=/proc/net/$(echo $family | sed s/tables/_tables/)_names
           for table in $(cat $names 2>/dev/null); do
             $family-legacy -t $table -F; $family-legacy -t $table -X
             for chain in $($family-legacy -t $table -S | sed -n 's/^-P \\([^ ]*\\).*/\\1/p'); do
               $family-legacy -t $table -P $chain ACCEPT
             done
           done
         done");
}

fn only(found: &BTreeSet<String>, allowed: &[&str]) -> bool {
    found.iter().all(|own| allowed.iter().any(|word| own.contains(word)))
}

#[test]
fn what_docker_ufw_and_firewalld_write_is_understood() {
    let host = Host::boot_as(Setup::Neighbours);
    host.docker_run("db", "-p 5432:5432", 5432);
    host.sh("docker network create v4only");
    host.docker_run("web", "--network v4only -p 8080:80 -p 127.0.0.1:8081:80 -p 53:53/udp", 80);
    let docker = told(&host, "Docker");
    assert!(docker.conditional.is_empty() && docker.not_read.is_empty(), "Docker is exact");

    host.sh("ufw --force enable && ufw allow 22/tcp");
    let both = told(&host, "Docker and ufw");
    assert!(both.conditional.is_empty() && both.not_read.is_empty(), "{:?}", both.conditional);
    host.sh("ufw limit 80/tcp; ufw logging full; ufw route allow in on wan0 out on docker0;
         ufw deny from 203.0.113.0/24 to any port 443 proto tcp; ufw allow 8000:9000/udp;
         ufw reject in on lan0 from 2001:db8:2::/64 to any port 3306 proto tcp;
         ufw allow from 192.0.2.0/24 to any app OpenSSH; ufw reload");
    let more = told(&host, "ufw with limits, routes, logging");
    assert!(more.not_read.is_empty(), "{:?}", more.not_read);
    assert!(only(&more.conditional, &["limit", "recent"]), "{:?}", more.conditional);
    host.sh("ufw --force disable && systemctl stop docker docker.socket");
    flush(&host);

    host.sh("systemctl start firewalld && firewall-cmd --state");
    let defaults = told(&host, "firewalld");
    assert!(defaults.not_read.is_empty() && defaults.conditional.is_empty());
    host.sh("set -ex; f=firewall-cmd
         $f --new-ipset=blocked --type=hash:net --permanent; $f --set-log-denied=unicast
         $f --zone=internal --change-interface=lan0
         $f --zone=drop --add-source=203.0.113.64/26
         $f --zone=public --add-service=http; $f --zone=public --add-port=8000-9000/udp
         $f --zone=public --add-forward-port=port=8080:proto=tcp:toport=80
         $f --zone=public --add-rich-rule='rule family=ipv4 source address=203.0.113.0/24 service name=https log prefix=h level=info limit value=2/m accept'
         $f --zone=public --add-rich-rule='rule family=ipv6 source NOT address=2001:db8:9::/64 port port=443 protocol=tcp accept'
         $f --zone=public --add-rich-rule='rule service name=ftp accept limit value=3/m'
         $f --zone=internal --add-masquerade; $f --zone=internal --add-icmp-block=echo-request
         $f --ipset=blocked --add-entry=198.51.100.0/24
         $f --zone=block --add-source=ipset:blocked");
    let zones = told(&host, "firewalld with zones, rich rules, forward ports");
    assert!(zones.rules > defaults.rules + 20, "a reload would have lost the settings");
    assert!(zones.not_read.is_empty(), "{:?}", zones.not_read);
    assert!(only(&zones.conditional, &["limit"]), "{:?}", zones.conditional);
}

#[test]
fn what_other_programs_write_is_read_and_named() {
    let host = Host::boot_as(Setup::Neighbours);
    host.sh("systemctl stop docker docker.socket");
    flush(&host);

    host.sh("podman import --change 'ENTRYPOINT [\"busybox\"]' \
             /usr/share/fwctl-tests/busybox.tar box
         podman network create demo
         podman run -d --name db --network demo -p 5432:5432 box httpd -f -p 5432");
    let podman = told(&host, "Podman with netavark");
    assert!(podman.not_read.is_empty() && podman.conditional.is_empty());
    host.sh("podman rm -f -t 0 db");
    flush(&host);

    host.sh("systemctl start libvirtd && virsh net-start default");
    let libvirt = told(&host, "libvirt's default network");
    assert!(libvirt.not_read.is_empty() && libvirt.conditional.is_empty());
    host.sh(
        "virsh net-destroy default; systemctl stop libvirtd libvirtd.socket libvirtd-ro.socket \
             libvirtd-admin.socket",
    );
    flush(&host);

    for (action, allowed) in [
        ("nftables-multiport", &[][..]),
        ("iptables-multiport", &[]),
        ("iptables-ipset-proto6", &[]),
    ] {
        host.write(
            "/etc/fail2ban/jail.d/defaults-debian.conf",
            &format!(
                "[DEFAULT]\nbackend = polling\nbanaction = {action}\n[sshd]\nenabled = true\n"
            ),
        );
        host.sh(": >/var/log/auth.log; systemctl start fail2ban
             until fail2ban-client ping >/dev/null 2>&1; do sleep 0.1; done
             for ip in 203.0.113.1 198.51.100.9; do fail2ban-client set sshd banip $ip; done
             until [ \"$(nft list ruleset)\" ]; do sleep 0.1; done; sleep 0.5");
        let banned = told(&host, &format!("fail2ban with {action}"));
        assert!(banned.not_read.is_empty(), "{:?}", banned.not_read);
        assert!(only(&banned.conditional, allowed), "{:?}", banned.conditional);
        host.sh("systemctl kill --signal=KILL fail2ban; systemctl reset-failed fail2ban");
        flush(&host);
    }

    host.sh("set -e
         ipset create blocked hash:net; ipset add blocked 192.0.2.0/24
         ipset add blocked 192.0.2.20 nomatch; ipset add blocked 203.0.113.0/28
         ipset create blocked6 hash:net family inet6; ipset add blocked6 2001:db8:1::/64
         ipset create web bitmap:port range 0-9000; ipset add web 80; ipset add web 3306-3310
         ipset create pairs hash:ip,port; ipset add pairs 192.0.2.20,tcp:443
         ipset add pairs 203.0.113.1,udp:22
         ipset create places hash:net,port; ipset add places 203.0.113.10,tcp:443
         ipset create lists list:set; ipset add lists blocked
         iptables -A INPUT -p tcp --dport 22 -m set --match-set blocked src -j DROP
         iptables -A INPUT -p tcp -m set ! --match-set web dst -m set --match-set pairs src,dst -j DROP
         iptables -A INPUT -m set --match-set places dst,dst -j REJECT
         iptables -A INPUT -p tcp --dport 9999 -m set --match-set lists src -j DROP
         ip6tables -A INPUT -p tcp -m set --match-set web dst -m set --match-set blocked6 src -j DROP");
    let sets = told(&host, "IP sets");
    assert!(sets.not_read.is_empty(), "{:?}", sets.not_read);
    assert_eq!(sets.conditional.len(), 1, "only the list of sets: {:?}", sets.conditional);
    flush(&host);

    host.sh("cp /usr/share/doc/shorewall/examples/two-interfaces/* /etc/shorewall/
         cd /etc/shorewall; sed -i 's/^STARTUP_ENABLED=.*/STARTUP_ENABLED=Yes/' shorewall.conf; sed -i 's/eth0/wan0/; s/eth1/lan0/' interfaces snat zones policy rules \
           stoppedrules
         printf 'SSH(ACCEPT)\\tnet:203.0.113.0/24\\t$FW\\nDNAT\\tnet\\tloc:192.0.2.20\\ttcp\\t8080\\n' >>rules
         printf 'HTTP(ACCEPT)\\tnet\\t$FW\\ttcp\\t-\\t-\\t-\\t3/min\\n' >>rules
         shorewall -q start 2>&1");
    let shorewall = told(&host, "Shorewall");
    assert!(shorewall.not_read.is_empty(), "{:?}", shorewall.not_read);
    assert!(only(&shorewall.conditional, &["limit"]), "{:?}", shorewall.conditional);
    host.sh("shorewall clear >/dev/null 2>&1");
    flush(&host);

    // Debian's ferm speaks legacy iptables.
    host.sh("ferm /etc/ferm/ferm.conf");
    let ferm = told(&host, "ferm");
    assert!(ferm.not_read.is_empty() && ferm.conditional.is_empty());
}
