//! Docker containers on a host. Their image is one static busybox, imported on first use.

use super::machine::Host;

impl Host {
    /// Starts a container that serves TCP on `port` (and says what it is over HTTP), with further
    /// options of `docker run`; gives its id.
    pub fn docker_run(&self, name: &str, options: &str, port: u16) -> String {
        self.docker_image();
        self.sh(&format!("docker run --detach --name {name} {options} box httpd -f -p {port}"))
    }

    /// Makes the image `box` known to Docker.
    pub fn docker_image(&self) {
        self.sh("docker image inspect box >/dev/null 2>&1 \
             || docker import --change 'ENTRYPOINT [\"busybox\"]' \
                /usr/share/fwctl-tests/busybox.tar box >/dev/null");
    }

    /// The addresses of a container on one of its networks: IPv4, then IPv6 (empty where it has
    /// none).
    pub fn container_addresses(&self, name: &str, network: &str) -> (String, String) {
        let inspect = |field: &str| {
            self.sh(&format!(
                "docker inspect --format \
                 '{{{{(index .NetworkSettings.Networks \"{network}\").{field}}}}}' {name}"
            ))
        };
        (inspect("IPAddress"), inspect("GlobalIPv6Address"))
    }

    /// Whether a container opens a TCP connection to an address and hears something there.
    pub fn container_hears(&self, name: &str, address: &str, port: u16) -> bool {
        let script = format!(
            "printf 'GET / HTTP/1.0\\r\\n\\r\\n' \
             | docker exec --interactive {name} busybox nc -w 2 {address} {port} | grep -q ."
        );
        self.try_sh(&script).status.success()
    }
}
