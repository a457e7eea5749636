//! Who may call what: the one table.
//!
//! Contract: every call is let in here, by what the connection proved of the caller, before anything is done for it. What is
//! not in the table is for operators.

use tonic::{Request, Status};

use super::errors::Reason;
use crate::tls::ConnectionInfo;

/// Who may make a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// Whoever reaches the port.
    Anybody,
    /// Whose certificate names `quorate:operator:<cluster id>`; without TLS, whoever reaches the port.
    Operator,
}

/// The table. Nobody is authenticated for reads and writes yet: keep the port private.
const TABLE: &[(&str, Level)] = &[
    ("Commit", Level::Anybody),
    ("CommitStream", Level::Anybody),
    ("Get", Level::Anybody),
    ("GetMany", Level::Anybody),
    ("Scan", Level::Anybody),
    ("History", Level::Anybody),
    ("GetTransaction", Level::Anybody),
    ("ListTransactions", Level::Anybody),
    ("InclusionProof", Level::Anybody),
    ("ConsistencyProof", Level::Anybody),
    ("GetCheckpoint", Level::Anybody),
    ("CreateLedger", Level::Anybody),
    ("ListLedgers", Level::Anybody),
    ("ListEpochs", Level::Anybody),
    ("Subscribe", Level::Anybody),
    ("Status", Level::Anybody),
    ("ListMembers", Level::Operator),
    ("Invite", Level::Operator),
    ("Promote", Level::Operator),
    ("Remove", Level::Operator),
    ("Replace", Level::Operator),
    ("TransferLeadership", Level::Operator),
    ("Drain", Level::Operator),
    ("Freeze", Level::Operator),
    ("Thaw", Level::Operator),
];

fn level(call: &str) -> Level {
    TABLE.iter().find(|(name, _)| *name == call).map_or(Level::Operator, |(_, level)| *level)
}

/// Lets a call in, or says why not.
pub(crate) fn check<T>(call: &str, request: &Request<T>) -> Result<(), Status> {
    let info = request.extensions().get::<ConnectionInfo>();
    let is_operator = info.is_some_and(|info| info.operator || !info.encrypted);
    if level(call) == Level::Anybody || is_operator {
        return Ok(());
    }
    Err(Reason::OperatorOnly.refuse(format!(
        "{call} is for operators: show the certificate of one (--cert and --cert-key; `quorate init` made it in the folder operator)"
    )))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn by(encrypted: bool, operator: bool) -> Request<()> {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut request = Request::new(());
        let info = ConnectionInfo { local: address, remote: address, encrypted, peer: None, operator };
        request.extensions_mut().insert(info);
        request
    }

    #[test]
    fn only_operators_change_members_and_freeze() {
        for call in [
            "Invite",
            "Promote",
            "Remove",
            "Replace",
            "Drain",
            "Freeze",
            "Thaw",
            "ListMembers",
            "SomethingNew",
        ] {
            let refused = check(call, &by(true, false)).unwrap_err();
            assert!(refused.message().contains("--cert"), "{call}: {refused:?}");
            check(call, &by(true, true)).unwrap();
            // Plaintext proves nothing of anybody, as its warning says.
            check(call, &by(false, false)).unwrap();
            assert!(check(call, &Request::new(())).is_err(), "{call}: of whom nothing is known");
        }
        check("Get", &by(true, false)).unwrap();
        check("Get", &Request::new(())).unwrap();
    }
}
