//! The documents about the nodes of a cluster. As in [`json`](super::json): fields are only ever added.

use serde::Serialize;

/// `members`: the answer of the `member` commands.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Members {
    pub(crate) epoch: String,
    pub(crate) leader: Option<String>,
    /// What the leader is doing about the members; empty when all is as it should be.
    pub(crate) change: String,
    pub(crate) members: Vec<Member>,
    pub(crate) invitations: Vec<Invitation>,
}

/// A node of `members`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Member {
    pub(crate) node: String,
    /// `joining`, `member`, `leaving` or `removed`.
    pub(crate) state: String,
    pub(crate) voter: bool,
    pub(crate) leader: bool,
    pub(crate) client_address: String,
    pub(crate) peer_address: String,
    pub(crate) cosigner_vkey: String,
    /// Entries of the leader's log that it lacks; `null` of the leader itself, and where nothing is known.
    pub(crate) behind: Option<String>,
    pub(crate) silent_ms: Option<String>,
    pub(crate) removed_in_epoch: Option<String>,
}

/// An invitation of `members` that can be used.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Invitation {
    pub(crate) node: String,
    pub(crate) expires_at: String,
}

/// `invitation`: the answer of `member invite`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct NewInvitation {
    pub(crate) node: String,
    pub(crate) expires_at: String,
    pub(crate) file: Option<String>,
    /// Where no file was asked for: a secret.
    pub(crate) invitation: Option<String>,
}

/// `drained`: the answer of `member drain`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Drained {
    pub(crate) node: String,
    pub(crate) drained: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compact<T: Serialize>(kind: &'static str, body: &T) -> String {
        let pretty = super::super::json::document(kind, body).unwrap_or_default();
        pretty.lines().map(str::trim_start).collect()
    }

    #[test]
    fn documents_about_members_keep_their_fields_and_their_order() {
        let member = Member {
            node: "4".into(),
            state: "joining".into(),
            voter: false,
            leader: false,
            client_address: "d:1".into(),
            peer_address: "d:2".into(),
            cosigner_vkey: "d+1+2".into(),
            behind: Some("7".into()),
            silent_ms: Some("12".into()),
            removed_in_epoch: None,
        };
        let invitation = Invitation { node: "5".into(), expires_at: "2026-11-24T00:00:00Z".into() };
        let body = Members {
            epoch: "2".into(),
            leader: Some("1".into()),
            change: String::new(),
            members: vec![member],
            invitations: vec![invitation],
        };
        let expected = concat!(
            r#"{"schema": 1,"kind": "members","epoch": "2","leader": "1","change": "","members": [{"node": "4","#,
            r#""state": "joining","voter": false,"leader": false,"client_address": "d:1","peer_address": "d:2","#,
            r#""cosigner_vkey": "d+1+2","behind": "7","silent_ms": "12","removed_in_epoch": null}],"#,
            r#""invitations": [{"node": "5","expires_at": "2026-11-24T00:00:00Z"}]}"#
        );
        assert_eq!(compact("members", &body), expected);
        let body = NewInvitation {
            node: "4".into(),
            expires_at: "2026-11-24T00:00:00Z".into(),
            file: Some("f".into()),
            invitation: None,
        };
        let expected = concat!(
            r#"{"schema": 1,"kind": "invitation","node": "4","expires_at": "2026-11-24T00:00:00Z","file": "f","#,
            r#""invitation": null}"#
        );
        assert_eq!(compact("invitation", &body), expected);
        let expected = r#"{"schema": 1,"kind": "drained","node": "4","drained": true}"#;
        assert_eq!(compact("drained", &Drained { node: "4".into(), drained: true }), expected);
    }
}
