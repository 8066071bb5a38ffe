//! `fwctl explain` in a namespace with rules of the shape that Docker and ufw write.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod net;

use net::Lab;

const NEIGHBOURS: &str = "*nat
:PREROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:ufw-user-input - [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -j ufw-user-input
-A ufw-user-input -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -m limit --limit 6/min -j ACCEPT
-A ufw-user-input -s 198.51.100.0/24 -p tcp -m tcp --dport 443 -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
COMMIT
";

struct Explained {
    text: String,
    json: serde_json::Value,
}

fn explain(lab: &Lab, args: &[&str]) -> Explained {
    let run = |more: &[&str]| {
        let mut command = lab.host.command(env!("CARGO_BIN_EXE_fwctl"));
        let output = command.arg("explain").args(args).args(more).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let json = serde_json::from_str(&run(&["--format", "json"])).unwrap();
    Explained { text: run(&[]), json }
}

#[test]
fn each_connection_is_explained_by_the_rules_that_decide_it() {
    let lab = Lab::new();
    lab.bridge("docker0", "172.17.0.1/16", "2001:db8:17::1/64");
    let mut restore = lab.host.command("iptables-nft-restore");
    let mut child = restore.stdin(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), NEIGHBOURS.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    let _web = lab.host.listen_tcp("0.0.0.0:443");

    let published = explain(&lab, &["198.51.100.7", "8080/tcp"]);
    assert_eq!(published.json["format"], "fwctl.explain/1");
    assert_eq!(published.json["verdict"], "open");
    assert_eq!(published.json["ends"][0]["address"], "172.17.0.2");
    assert_eq!(published.json["ends"][0]["port"], 80);
    assert_eq!(published.json["decided_by"]["chain"], "DOCKER");
    for line in published.text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let order = [
        "prerouting",
        "rewrites DOCKER",
        "\nrouting",
        "goes on, by docker0",
        "\nforward",
        "accepts  DOCKER: ",
    ];
    let places: Vec<_> = order.iter().map(|word| published.text.find(word)).collect();
    assert!(places.is_sorted() && places[0].is_some(), "{places:?}\n{}", published.text);

    let limited = explain(&lab, &["internet", "22/tcp"]);
    assert_eq!(limited.json["verdict"], "limited");
    assert_eq!(limited.json["zone"], "internet");
    assert_eq!(limited.json["interface"], "wan0");
    assert!(limited.text.contains("depends on limit rate 6/minute"), "{}", limited.text);

    let web = explain(&lab, &["198.51.100.7", "443/tcp"]);
    assert_eq!(web.json["verdict"], "open");
    assert!(web.text.contains("answers"), "the listener is named:\n{}", web.text);
    assert!(!web.text.contains("nothing that fwctl knows"), "{}", web.text);

    let stranger = explain(&lab, &["203.0.113.77", "443/tcp"]);
    assert_eq!(stranger.json["verdict"], "closed");
    assert_eq!(stranger.json["decided_by"]["rule"], "policy drop");
    let routed = explain(&lab, &["198.51.100.7", "8080/tcp", "--to", "172.17.0.2"]);
    assert_eq!(routed.json["verdict"], "closed");
    assert_eq!(routed.json["decided_by"]["chain"], "FORWARD");
    let loopback = explain(&lab, &["203.0.113.9", "22/tcp", "--to", "127.0.0.1"]);
    assert!(loopback.text.contains("route_localnet"), "{}", loopback.text);
    // No rule speaks of IPv6.
    let v6 = explain(&lab, &["2001:db8:7::7", "9/udp", "--via", "lan0"]);
    assert_eq!((&v6.json["verdict"], &v6.json["interface"]), (&"open".into(), &"lan0".into()));
}
