//! Ports for the nodes of a development cluster.

use std::net::{Ipv4Addr, TcpListener};

use crate::error::CliError;

/// Numbers between the ports of one node and those of the next.
const STEP: u16 = 10;

/// Where free ports are looked for: below the range that operating systems take for outgoing connections, so that the
/// ports are still free the next time.
const RANGE: std::ops::Range<u16> = 10_000..30_000;

/// Blocks that are looked at before giving up.
const ATTEMPTS: usize = 200;

/// The ports of a node: for clients, for nodes, HTTP.
pub(super) type NodePorts = [u16; 3];

/// Ports for `nodes` nodes: from `base` on, or free ones if it is 0.
pub(super) fn choose(base: u16, nodes: u16) -> Result<Vec<NodePorts>, CliError> {
    if base != 0 {
        return block(base, nodes).ok_or_else(|| {
            CliError::usage(
                format!("--base-port {base}: there are not enough ports above it"),
                "choose a lower one",
            )
        });
    }
    for _ in 0..ATTEMPTS {
        if let Some(ports) =
            block(somewhere()?, nodes).filter(|ports| ports.iter().flatten().all(|port| is_free(*port)))
        {
            return Ok(ports);
        }
    }
    Err(CliError::usage("no free ports were found on 127.0.0.1", "choose them with --base-port"))
}

fn block(base: u16, nodes: u16) -> Option<Vec<NodePorts>> {
    let node = |n: u16| {
        let first = base.checked_add(n.checked_mul(STEP)?)?;
        Some([first, first.checked_add(1)?, first.checked_add(2)?])
    };
    (0..nodes).map(node).collect()
}

/// A random multiple of [`STEP`] in [`RANGE`]: two clusters that start at once should not look at the same ports.
fn somewhere() -> Result<u16, CliError> {
    let mut random = [0; 2];
    getrandom::fill(&mut random)
        .map_err(|error| CliError::other(format!("no random bytes from the operating system: {error}")))?;
    let places = (RANGE.end - RANGE.start) / STEP;
    Ok(RANGE.start + u16::from_le_bytes(random) % places * STEP)
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_distinct_and_below_those_of_outgoing_connections() {
        let ports: Vec<u16> = choose(0, 9).unwrap().concat();
        assert_eq!(ports.len(), 27);
        let distinct: std::collections::BTreeSet<u16> = ports.iter().copied().collect();
        assert_eq!(distinct.len(), 27);
        assert!(distinct.iter().all(|port| RANGE.contains(port) && is_free(*port)));
    }

    #[test]
    fn a_base_port_is_kept_to_and_must_leave_room() {
        assert_eq!(choose(7400, 2).unwrap(), [[7400, 7401, 7402], [7410, 7411, 7412]]);
        let error = choose(65_530, 3).unwrap_err().to_string();
        assert!(error.contains("--base-port 65530"), "{error}");
    }
}
