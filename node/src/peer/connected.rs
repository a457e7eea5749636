//! Hands what the handshake proved to the calls of a connection.

use tonic::transport::server::Connected;

use crate::tls::{Connection, ConnectionInfo};

impl Connected for Connection {
    type ConnectInfo = ConnectionInfo;

    fn connect_info(&self) -> ConnectionInfo {
        self.info()
    }
}
