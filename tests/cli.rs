//! The command as a user runs it: exit codes, streams, help, and what needs no root.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The command in a clean environment, with `root` for `FWCTL_ROOT`.
fn fwctl(root: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fwctl"));
    command.env_clear().env("FWCTL_ROOT", root).current_dir(root).stdin(Stdio::null());
    command
}

fn run(root: &Path, args: &[&str]) -> Output {
    fwctl(root).args(args).output().expect("fwctl runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it ended by itself")
}

/// A root with this policy in its place.
fn root_with(policy: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a directory");
    let folder = root.path().join("etc/fwctl");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("policy.toml"), policy).expect("a file");
    root
}

const GOOD: &str = "version = 1\nuse = [\"web-server\"]\n";
const BROKEN: &str = "version = 1\n[[allow]]\nservice = [\"shh\"]\n";

#[test]
fn help_names_every_command_and_fits_80_columns() {
    let root = root_with(GOOD);
    let commands: Vec<String> = fwctl::cli::command()
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .collect();
    assert!(!commands.is_empty());
    let mut pages = vec![vec!["--help"], vec!["-h"]];
    pages.extend(commands.iter().map(|name| vec![name.as_str(), "--help"]));
    for args in pages {
        let output = fwctl(root.path()).args(&args).env("COLUMNS", "80").output().expect("runs");
        assert_eq!(code(&output), 0, "{args:?}");
        assert_eq!(stderr(&output), "", "{args:?}");
        for line in stdout(&output).lines() {
            assert!(line.chars().count() <= 80, "{args:?}: {line}");
        }
    }
    let help = stdout(&run(root.path(), &["--help"]));
    for name in &commands {
        assert!(help.contains(&format!("\n  {name} ")), "{name} is not in the help");
    }
}

#[test]
fn wrong_usage_ends_with_2_and_changes_nothing() {
    let root = root_with(GOOD);
    for args in [
        &["frobnicate"][..],
        &["check", "--nonsense"],
        &["check", "a", "b"],
        &["check", "a", "--policy", "b"],
        &["check", "--format", "xml"],
        &["snapshot", "extra"],
        &["-q", "-v", "check"],
        &[],
    ] {
        let output = run(root.path(), args);
        assert_eq!(code(&output), 2, "{args:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), "", "{args:?}");
        assert!(
            stderr(&output).contains("--help") || args.is_empty(),
            "{args:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn check_says_what_a_good_policy_holds() {
    let root = root_with(GOOD);
    let output = run(root.path(), &["check"]);
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
    let text = stdout(&output);
    assert!(text.contains("policy.toml, with web-server: valid; "), "{text}");
    let output = run(root.path(), &["check", "-q"]);
    assert_eq!((code(&output), stdout(&output).as_str()), (0, ""));
}

#[test]
fn check_shows_the_line_of_a_broken_policy() {
    let root = root_with(BROKEN);
    let output = run(root.path(), &["check", "etc/fwctl/policy.toml"]);
    assert_eq!((code(&output), stdout(&output).as_str()), (1, ""));
    let text = stderr(&output);
    for part in ["etc/fwctl/policy.toml:3:12", "service = [\"shh\"]", "did you mean `ssh`?"] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    let output = run(root.path(), &["check", "no-such-file.toml"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("no-such-file.toml"), "{}", stderr(&output));
}

#[test]
fn check_speaks_json() {
    for (policy, valid, count) in [(GOOD, true, 0), (BROKEN, false, 1)] {
        let root = root_with(policy);
        let output = run(root.path(), &["check", "--format", "json"]);
        assert_eq!(code(&output), i32::from(!valid));
        let report: serde_json::Value =
            serde_json::from_str(&stdout(&output)).expect("JSON on standard output");
        assert_eq!(report["format"], "fwctl.check/1");
        assert_eq!(report["valid"], valid);
        assert_eq!(report["diagnostics"].as_array().map(Vec::len), Some(count));
    }
}

#[test]
fn colour_is_for_those_who_want_it() {
    let root = root_with(BROKEN);
    let escapes = |output: &Output| stderr(output).contains('\x1b');
    assert!(!escapes(&run(root.path(), &["check"])), "a pipe is no terminal");
    assert!(escapes(&run(root.path(), &["check", "--color", "always"])));
    let output = fwctl(root.path()).arg("check").env("NO_COLOR", "1").output().expect("runs");
    assert!(!escapes(&output));
}

#[test]
fn a_snapshot_is_taken_and_read_without_root() {
    let root = root_with(GOOD);
    let output = run(root.path(), &["snapshot"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let snapshot = fwctl::observe::Snapshot::from_json(&stdout(&output)).expect("a snapshot");
    assert_eq!(snapshot.format, fwctl::observe::FORMAT);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let root = root_with(GOOD);
    let mut child = fwctl(root.path())
        .arg("snapshot")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(!said.contains("panicked") && !said.contains("error"), "{said}");
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let root = root_with(GOOD);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let output = fwctl(root.path()).arg("check").stdout(full).output().expect("runs");
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("standard output"), "{}", stderr(&output));
}

/// A web server with Docker, as `fwctl snapshot` wrote it.
const WEB1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/cli/web1.json");

#[test]
fn a_plan_is_made_from_a_snapshot_on_any_machine() {
    let root = root_with(GOOD);
    let output = run(root.path(), &["plan", "--snapshot", WEB1]);
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
    let text = stdout(&output);
    assert!(text.starts_with("web1: nothing of fwctl is in force yet; generation 1 "), "{text}");
    for part in ["\nCloses\n", "- 5432/tcp  container db", "\n     80/tcp "] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    for (columns, width) in [("80", 80), ("160", 160)] {
        let mut command = fwctl(root.path());
        command.args(["plan", "-v", "--snapshot", WEB1]).env("COLUMNS", columns);
        let output = command.output().expect("runs");
        for line in stdout(&output).lines() {
            assert!(line.chars().count() <= width, "{columns}: {line}");
        }
    }
    let output = run(root.path(), &["plan", "--detailed-exitcode", "--snapshot", WEB1]);
    assert_eq!(code(&output), 3);
}

#[test]
fn a_plan_speaks_json_and_markdown() {
    let root = root_with(GOOD);
    let output = run(root.path(), &["plan", "--format", "json", "--snapshot", WEB1]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let plan: fwctl::plan::Plan = serde_json::from_str(&stdout(&output)).expect("a plan");
    assert_eq!(plan.format, fwctl::plan::FORMAT);
    assert_eq!(plan.host, "web1");
    assert!(!plan.exposure.is_empty() && !plan.edits.is_empty());
    let again = run(root.path(), &["plan", "--format", "json", "--snapshot", WEB1]);
    assert_eq!(stdout(&again), stdout(&output), "the same inputs give the same plan");
    let output = run(root.path(), &["plan", "--format", "markdown", "--snapshot", WEB1]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).starts_with("## web1: "), "{}", stdout(&output));
    assert!(stdout(&output).contains("| 5432/tcp | container db"), "{}", stdout(&output));
}

#[test]
fn a_policy_that_does_not_do_what_it_expects_ends_with_5() {
    let root = root_with(
        "version = 1\nuse = [\"web-server\"]\n[[expect]]\nfrom = [\"internet\"]\nclosed = [\"ssh\"]\n",
    );
    let output = run(root.path(), &["plan", "--detailed-exitcode", "--snapshot", WEB1]);
    assert_eq!(code(&output), 5, "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("The policy expects, and does not get\n  policy.toml:3 "), "{text}");
}

#[test]
fn a_plan_says_what_the_guard_would_refuse_and_ends_as_if_it_did_not() {
    // Nobody gets in on port 22, and somebody is logged in there.
    let root = root_with("version = 1\n[[allow]]\nservice = [\"http\"]\n");
    let toml = "[[allow]]\nports = [\"22/tcp\"]\nfrom  = [\"198.51.100.7\"]\n";
    let plan = |args: &[&str], code_meant| {
        let output = run(root.path(), &[&["plan", "--snapshot", WEB1], args].concat());
        assert_eq!(code(&output), code_meant, "{args:?}: {}", stderr(&output));
        stdout(&output)
    };
    let session = "SSH session of admin from 198.51.100.7 to port 22 could not be opened";
    for columns in ["80", "160"] {
        let mut command = fwctl(root.path());
        command.env("COLUMNS", columns).args(["plan", "--snapshot", WEB1]);
        let text = stdout(&command.output().expect("fwctl runs"));
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("The guard would refuse it.") && words.contains(session), "{text}");
        let indented = format!("        {}\n", toml.trim_end().replace('\n', "\n        "));
        assert!(text.contains(&indented), "{text}");
    }
    plan(&["--detailed-exitcode"], 3);
    let text = plan(&["--format", "markdown"], 0);
    assert!(text.contains(session) && text.contains(&format!("````toml\n{toml}")), "{text}");
    let json: serde_json::Value =
        serde_json::from_str(&plan(&["--format", "json"], 0)).expect("JSON");
    assert_eq!(json["guard"]["refusals"][0]["id"], "session");
    assert_eq!(json["guard"]["refusals"][0]["fix"], toml);
    // What it says to add mends it.
    let policy = root.path().join("etc/fwctl/policy.toml");
    let mended = format!("{}{toml}", std::fs::read_to_string(&policy).expect("a file"));
    std::fs::write(&policy, mended).expect("a file");
    let text = plan(&[], 0);
    assert!(!text.contains("guard would refuse"), "{text}");
    assert!(text.contains("note: on 22/tcp, 198.51.100.7 is let in and nothing"), "{text}");
    let json: serde_json::Value =
        serde_json::from_str(&plan(&["--format", "json"], 0)).expect("JSON");
    assert_eq!(json["guard"]["refusals"], serde_json::json!([]));
}

#[test]
fn what_is_no_snapshot_says_how_to_make_one() {
    let root = root_with(GOOD);
    std::fs::write(root.path().join("no.json"), "{}").expect("a file");
    for file in ["no.json", "missing.json", "etc/fwctl/policy.toml"] {
        let output = run(root.path(), &["plan", "--snapshot", file]);
        assert_eq!((code(&output), stdout(&output).as_str()), (1, ""), "{file}");
        let text = stderr(&output);
        for part in [file, "nothing was changed", "`fwctl snapshot > FILE`"] {
            assert!(text.contains(part), "{file}: {part} is missing in:\n{text}");
        }
    }
}

#[test]
fn a_broken_policy_stops_a_plan_with_its_line() {
    let root = root_with(BROKEN);
    let output = run(root.path(), &["plan", "--snapshot", WEB1]);
    assert_eq!((code(&output), stdout(&output).as_str()), (1, ""));
    let text = stderr(&output);
    for part in ["policy.toml:3:12", "did you mean `ssh`?", "nothing was changed", "fwctl check"] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
}

#[test]
fn apply_asks_nobody_where_there_is_no_terminal() {
    let root = root_with(GOOD);
    let output = run(root.path(), &["apply"]);
    assert_eq!((code(&output), stdout(&output).as_str()), (2, ""));
    let text = stderr(&output);
    assert!(text.contains("--yes") && text.contains("nothing was changed"), "{text}");
}

#[test]
fn a_snapshot_without_rules_is_not_taken_for_a_host_without_rules() {
    let root = root_with(GOOD);
    let mut snapshot =
        fwctl::observe::Snapshot::from_json(&std::fs::read_to_string(WEB1).expect("it is there"))
            .expect("a snapshot");
    let (subject, message) = ("nftables".to_owned(), "needs root".to_owned());
    snapshot.warnings.push(fwctl::observe::Warning { subject, message });
    std::fs::write(root.path().join("blind.json"), snapshot.to_json()).expect("a file");
    for command in ["plan", "status"] {
        let output = run(root.path(), &[command, "--snapshot", "blind.json"]);
        assert_eq!((code(&output), stdout(&output).as_str()), (1, ""), "{command}");
        let text = stderr(&output);
        assert!(text.contains("not known") && text.contains("needs root"), "{command}: {text}");
    }
}

#[test]
fn exposure_is_checked_against_the_policy() {
    let web1 = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/cli/web1.json");
    let open = "version = 1\n[default]\ninbound = \"accept\"\nforwarded = \"keep\"\n";
    let denied = format!("{open}[[deny]]\nports = [\"80/tcp\"]\nfrom = [\"internet\"]\n");
    let check = |policy: &str, snapshot: &str, args: &[&str]| {
        let root = root_with(policy);
        run(root.path(), &[&["exposure", "--snapshot", snapshot], args].concat())
    };
    let violated = check(&denied, web1, &["--check"]);
    assert_eq!(code(&violated), 5, "{}", stderr(&violated));
    let text = stdout(&violated);
    let told = "\n  80/tcp  nginx\n    - open for internet; the policy denies it (policy.toml:5)\n      \
                through host socket; no rule filters it\n";
    assert!(text.contains(told), "{text}");
    // Shown without being asked to check, it is no failure.
    assert_eq!(code(&check(&denied, web1, &[])), 0);
    assert_eq!(stdout(&check(&denied, web1, &[])), text);
    for format in ["json", "markdown"] {
        assert_eq!(code(&check(&denied, web1, &["--check", "--format", format])), 5);
    }
    // What only the internet may not do, containers may.
    let closed = format!("{open}[[deny]]\nports = [\"81/tcp\"]\n");
    let fine = check(&closed, web1, &["--check"]);
    assert_eq!(code(&fine), 0, "{}", stdout(&fine));

    // What cannot be ruled out is no proof: a program that sees packets before all rules.
    let mut snapshot: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(web1).expect("a file")).expect("JSON");
    for link in snapshot["links"].as_array_mut().expect("links") {
        link["xdp"] = true.into();
    }
    let folder = tempfile::tempdir().expect("a directory");
    let xdp = folder.path().join("xdp.json");
    std::fs::write(&xdp, snapshot.to_string()).expect("a file");
    let unknown = check(&denied, xdp.to_str().expect("text"), &["--check"]);
    assert_eq!(code(&unknown), 5);
    assert!(stdout(&unknown).contains("XDP"), "{}", stdout(&unknown));
    // Nor is what IPVS sends elsewhere.
    for link in snapshot["links"].as_array_mut().expect("links") {
        link["xdp"] = false.into();
    }
    snapshot["handlers"] =
        serde_json::json!([{"kind": "service", "protocol": "tcp", "at": "203.0.113.10:80"}]);
    std::fs::write(&xdp, snapshot.to_string()).expect("a file");
    let explain = |port: &str| {
        let root = root_with(&denied);
        let path = xdp.to_str().expect("text");
        stdout(&run(
            root.path(),
            &["explain", "198.51.100.7", port, "--to", "203.0.113.10", "--snapshot", path],
        ))
    };
    assert!(explain("80/tcp").contains("IPVS"), "{}", explain("80/tcp"));
    assert!(!explain("443/tcp").contains("IPVS"), "{}", explain("443/tcp"));
    // A check needs a policy.
    let bare = tempfile::tempdir().expect("a directory");
    let missing = run(bare.path(), &["exposure", "--check", "--snapshot", web1]);
    assert_eq!(code(&missing), 1);
}
