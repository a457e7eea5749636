//! Telling a supervisor how far the process is: the `sd_notify` protocol, one datagram to `$NOTIFY_SOCKET`
//! (<https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html>).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The node serves.
pub(super) const READY: &str = "READY=1";

/// The node is stopping.
pub(super) const STOPPING: &str = "STOPPING=1";

/// Sends `state` to the supervisor, if there is one that wants to know.
pub(super) fn notify(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()) else {
        return;
    };
    if let Err(error) = send(&socket, state) {
        tracing::warn!(%error, state, "the supervisor could not be told");
    }
}

/// A name that starts with `@` is one of Linux's abstract namespace.
fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(by: &UnixDatagram) -> String {
        let mut buffer = [0; 64];
        let length = by.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_supervisor_is_told_by_path_or_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let supervisor = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), READY).unwrap();
        assert_eq!(received(&supervisor), "READY=1");

        let name = format!("quorate-test-{}", std::process::id());
        let supervisor = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        send(OsStr::new(&format!("@{name}")), STOPPING).unwrap();
        assert_eq!(received(&supervisor), "STOPPING=1");
    }

    #[test]
    fn a_supervisor_that_is_gone_is_an_error_and_no_panic() {
        let dir = tempfile::tempdir().unwrap();
        assert!(send(dir.path().join("gone").as_os_str(), READY).is_err());
    }
}
