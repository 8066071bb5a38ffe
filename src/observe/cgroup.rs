//! The text of `/proc/PID/cgroup` → where systemd and container engines have put a process.
//!
//! Pure. Reads version 2, version 1 and both at once. The unit is the system's own: a unit of a
//! user's manager is below `user@UID.service` and could bear any name, so that one is told.

/// Where a process belongs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    /// The systemd unit (`nginx.service`, `session-3.scope`).
    pub unit: Option<String>,
    /// The container, by its id or, for LXC, by its name.
    pub container: Option<String>,
    /// Its control group in the hierarchy of version 2, without the first slash.
    pub group: Option<String>,
}

impl Placement {
    /// The login session (`session-3.scope`) that the process is in.
    pub fn session(&self) -> Option<&str> {
        let unit = self.unit.as_deref()?;
        (unit.starts_with("session-") && unit.ends_with(".scope")).then_some(unit)
    }
}

/// Reads the text of `/proc/PID/cgroup`.
pub fn parse(text: &str) -> Placement {
    let mut placement = Placement::default();
    for line in text.lines() {
        // hierarchy-ID:controller-list:cgroup-path (cgroups(7)); systemd's own hierarchy is the
        // one named `systemd` (version 1) or number 0 (version 2).
        let mut parts = line.splitn(3, ':');
        let (Some(number), Some(controllers), Some(path)) =
            (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        if placement.container.is_none() {
            placement.container = container_of(path);
        }
        if number == "0" && controllers.is_empty() {
            placement.group = path.strip_prefix('/').map(str::to_owned);
        }
        if placement.unit.is_none() && (number == "0" || controllers == "name=systemd") {
            placement.unit = unit_of(path);
        }
    }
    // A container of an engine that makes its cgroups below its own service is not that service.
    if placement.container.is_some()
        && placement.unit.as_deref().is_some_and(|unit| ENGINES.contains(&unit))
    {
        placement.unit = None;
    }
    placement
}

const ENGINES: [&str; 5] =
    ["docker.service", "containerd.service", "podman.service", "crio.service", "kubelet.service"];

/// The outermost service or scope in a path. What is inside a container is the container's own
/// and could bear any name.
fn unit_of(path: &str) -> Option<String> {
    path.split('/')
        .take_while(|part| id_in(part).is_none())
        .find(|part| {
            part.ends_with(".service") || (part.ends_with(".scope") && *part != "init.scope")
        })
        .map(unescape)
}

/// The innermost container in a path.
fn container_of(path: &str) -> Option<String> {
    let mut container = None;
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        if let Some(id) = id_in(part).filter(|_| !part.contains("conmon")) {
            container = Some(id.to_owned());
        } else if let Some(name) = part.strip_prefix("lxc.payload.") {
            container = Some(name.to_owned());
        } else if part == "lxc" {
            container = parts.next_if(|name| !name.is_empty()).map(str::to_owned);
        }
    }
    container
}

/// The id of 64 hexadecimal digits in the name of a cgroup: `docker-ID.scope`, `libpod-ID`, `ID`.
fn id_in(part: &str) -> Option<&str> {
    let part = part.strip_suffix(".scope").unwrap_or(part);
    let id = part.rsplit(['-', ':']).next()?;
    (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

/// The name of a unit as systemd writes it; a cgroup's name has `_` before what the kernel
/// reserves (systemd, `cg_escape`).
fn unescape(part: &str) -> String {
    part.strip_prefix('_').unwrap_or(part).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn every_layout_gives_its_unit_and_container() {
        let unit = |unit: &str| (Some(unit.to_owned()), None);
        let container = || (None, Some(ID.to_owned()));
        let cases = [
            ("0::/system.slice/nginx.service".to_owned(), unit("nginx.service")),
            (
                "0::/system.slice/system-postgresql.slice/postgresql@15-main.service".to_owned(),
                unit("postgresql@15-main.service"),
            ),
            ("0::/user.slice/user-0.slice/session-3.scope".to_owned(), unit("session-3.scope")),
            (
                "0::/user.slice/user-1000.slice/user@1000.service/app.slice/ssh.service".to_owned(),
                unit("user@1000.service"),
            ),
            ("0::/init.scope".to_owned(), (None, None)),
            ("0::/".to_owned(), (None, None)),
            (format!("0::/system.slice/docker-{ID}.scope"), container()),
            (
                format!("0::/system.slice/docker-{ID}.scope/system.slice/nginx.service"),
                container(),
            ),
            (format!("0::/machine.slice/libpod-{ID}.scope/container"), container()),
            (format!("0::/machine.slice/libpod-conmon-{ID}.scope"), (None, None)),
            (
                format!("0::/system.slice/web.service/libpod-payload-{ID}"),
                (Some("web.service".to_owned()), Some(ID.to_owned())),
            ),
            (format!("0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope"), container()),
            (format!("0::/system.slice/docker.service/docker/{ID}"), container()),
            (
                format!("12:memory:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/system.slice/containerd.service"),
                container(),
            ),
            (
                "4:memory:/system.slice/sshd.service\n1:name=systemd:/system.slice/ssh.service\n0::/"
                    .to_owned(),
                unit("ssh.service"),
            ),
            ("0::/lxc.payload.web/system.slice".to_owned(), (None, Some("web".to_owned()))),
            ("3:pids:/lxc/db\n0::/".to_owned(), (None, Some("db".to_owned()))),
            ("garbage\n::\n".to_owned(), (None, None)),
        ];
        for (text, (unit, container)) in cases {
            let placed = parse(&text);
            assert_eq!((placed.unit, placed.container), (unit, container), "{text}");
        }
    }

    #[test]
    fn the_group_of_version_2_is_told_as_it_is_written() {
        let group = |text: &str| parse(text).group;
        let both = "4:memory:/system.slice/sshd.service\n0::/system.slice/ssh.service\n";
        assert_eq!(group(both).as_deref(), Some("system.slice/ssh.service"));
        assert_eq!(group("0::/\n").as_deref(), Some(""));
        assert_eq!(group("4:memory:/system.slice/sshd.service\n"), None);
    }

    #[test]
    fn a_login_session_is_told_from_other_scopes() {
        let session = |text: &str| parse(text).session().map(str::to_owned);
        assert_eq!(
            session("0::/user.slice/user-0.slice/session-c2.scope"),
            Some("session-c2.scope".to_owned())
        );
        assert_eq!(session("0::/system.slice/run-r1.scope"), None);
    }
}
