//! Loads a ruleset that somebody else wrote, less what this nft, iptables or kernel refuses.

use crate::net::Namespace;
use std::process::Stdio;

/// How a file is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Nft,
    /// `iptables-nft-restore` or `iptables-legacy-restore`, or those of IPv6.
    Iptables {
        version: u8,
        legacy: bool,
    },
}

/// Loads a file's text; gives how many lines were left out.
pub fn load(host: &Namespace, by: By, text: &str) -> Result<usize, String> {
    for line in text.lines().filter_map(|line| line.strip_prefix("# ipset ")) {
        let _ = host.command("ipset").args(line.split(' ')).output();
    }
    match by {
        By::Nft => {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            let left_out = mended(&mut lines, |text| host.try_nft(text), |_| String::new())?;
            // The same with a counter before each decision, where nft takes its own words back.
            let plain = host.ruleset();
            let mut lines: Vec<String> = plain.lines().map(counted).collect();
            let uncounted = |at: usize| plain.lines().nth(at).unwrap_or_default().to_owned();
            let again = |text: &str| host.try_nft(&format!("flush ruleset; {text}"));
            if let Err(error) = mended(&mut lines, again, uncounted) {
                println!("  not counted: {}", error.lines().next().unwrap_or(""));
            }
            Ok(left_out)
        }
        By::Iptables { version, legacy } => {
            let six = if version == 6 { "6" } else { "" };
            let kind = if legacy { "legacy" } else { "nft" };
            let program = format!("ip{six}tables-{kind}-restore");
            let own = |line: &&str| !line.starts_with('#') && !line.is_empty();
            let mut lines: Vec<String> = text.lines().filter(own).map(str::to_owned).collect();
            mended(&mut lines, |text| restore(host, &program, text), |_| String::new())
        }
    }
}

/// Puts something else in place of the lines that are refused, until the rest is not.
fn mended(
    lines: &mut [String],
    load: impl Fn(&str) -> Result<(), String>,
    instead: impl Fn(usize) -> String,
) -> Result<usize, String> {
    let mut left_out = 0;
    loop {
        let Err(error) = load(&(lines.join("\n") + "\n")) else { return Ok(left_out) };
        if left_out > 200 {
            return Err(error);
        }
        let word = ["/dev/stdin:", "line: ", "line ", "Error occurred at line: "]
            .iter()
            .find_map(|before| error.split(before).nth(1));
        let digits: String = word.unwrap_or("").chars().take_while(char::is_ascii_digit).collect();
        let at = digits.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        match at.and_then(|at| lines.get_mut(at).zip(Some(instead(at)))) {
            Some((line, other)) if *line != other && line != "COMMIT" => *line = other,
            _ => return Err(error),
        }
        left_out += 1;
    }
}

fn restore(host: &Namespace, program: &str, text: &str) -> Result<(), String> {
    let mut command = host.command(program);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may end before it has read all.
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes());
    let output = child.wait_with_output().unwrap();
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// A line of `nft list ruleset`, with a counter before the word that decides.
fn counted(line: &str) -> String {
    const DECIDES: [&str; 10] = [
        "accept",
        "drop",
        "return",
        "reject",
        "jump",
        "goto",
        "masquerade",
        "redirect",
        "dnat",
        "snat",
    ];
    const OTHERS: [&str; 7] =
        ["counter", "elements", "vmap", "map {", "type ", "comment", "update"];
    let words: Vec<&str> = line.trim().split(' ').collect();
    let at = words.iter().position(|word| DECIDES.contains(word));
    let plain = line.starts_with("\t\t") && !OTHERS.iter().any(|own| line.contains(own));
    match at.filter(|_| plain) {
        Some(at) => {
            let (before, after) = words.split_at(at);
            format!("\t\t{} counter {}", before.join(" "), after.join(" "))
        }
        None => line.to_owned(),
    }
}
