//! The nodes of the cluster, and freezing ledgers, for operators. Nothing of it is proven: it is the leader's word.

use std::time::Duration;

use quorate_core::frozen::KNOWS_FREEZES;
use quorate_core::position::NodeId;
use quorate_proto::v1;

use crate::client::Client;
use crate::clock::Deadline;
use crate::error::{Error, Rejection};
use crate::leader::Route;
use crate::retry::Plan;
use crate::transport::Rpc;

pub use quorate_proto::v1::{
    FreezeResponse as Frozen, InvitationInfo, InviteResponse as Invited, ListMembersResponse as Members,
    MemberInfo, PeerAddress,
};

/// Calls about the nodes of the cluster. Only an operator may make them: a client whose certificate
/// ([`ClientBuilder::identity_pem`](crate::ClientBuilder::identity_pem)) names one of this cluster.
///
/// A change is answered when it is agreed on; the cluster carries it out by itself, whatever becomes of the caller.
/// [`Admin::members`] says how far it is. Asking again for what is under way, or done, is no error.
#[derive(Debug, Clone)]
pub struct Admin(Client);

impl Client {
    /// Calls about the nodes of the cluster.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin(self.clone())
    }
}

impl Admin {
    /// Who the nodes are, and what is being done about them.
    ///
    /// # Errors
    /// [`Error::Denied`] to who is no operator.
    pub async fn members(&self) -> Result<Members, Error> {
        self.ask(v1::ListMembersRequest {}).await
    }

    /// Takes the next node id for a node that will show `secret`, within `valid` (zero: an hour).
    ///
    /// # Errors
    /// [`Error`]. When the outcome is unknown, an id may be taken that nobody uses: that does no harm.
    pub async fn invite(&self, secret: [u8; 32], valid: Duration) -> Result<Invited, Error> {
        let valid_ms = u64::try_from(valid.as_millis()).unwrap_or(u64::MAX);
        self.ask(v1::InviteRequest { secret: secret.to_vec().into(), valid_ms }).await
    }

    /// Makes a node that has caught up a member. Refused unless `expected_epoch` is in force (0: whichever is). Gives the
    /// epoch after it.
    ///
    /// # Errors
    /// [`Error::Rejected`] says why not.
    pub async fn promote(&self, node: NodeId, expected_epoch: u64) -> Result<u64, Error> {
        Ok(self.ask(v1::PromoteRequest { node_id: node.get(), expected_epoch }).await?.epoch)
    }

    /// Removes a node, for ever. As [`Admin::promote`].
    ///
    /// # Errors
    /// [`Error::Rejected`] says why not.
    pub async fn remove(&self, node: NodeId, expected_epoch: u64) -> Result<u64, Error> {
        Ok(self.ask(v1::RemoveRequest { node_id: node.get(), expected_epoch }).await?.epoch)
    }

    /// Makes the joining node `new` a member and removes `old`, in one step. As [`Admin::promote`].
    ///
    /// # Errors
    /// [`Error::Rejected`] says why not.
    pub async fn replace(&self, old: NodeId, new: NodeId, expected_epoch: u64) -> Result<u64, Error> {
        let request = v1::ReplaceRequest { old_node_id: old.get(), new_node_id: new.get(), expected_epoch };
        Ok(self.ask(request).await?.epoch)
    }

    /// Hands leadership over: to this node, or to the voter that is furthest. Gives who leads then.
    ///
    /// # Errors
    /// [`Error::Rejected`] says why not.
    pub async fn transfer_leadership(&self, to: Option<NodeId>) -> Result<NodeId, Error> {
        let request = v1::TransferLeadershipRequest { node_id: to.map_or(0, NodeId::get) };
        Ok(NodeId::new(self.ask(request).await?.leader))
    }

    /// Has a node serve nobody new, or serve again; it is asked at its own address. Says whether it is drained then.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn drain(&self, node: NodeId, drain: bool) -> Result<bool, Error> {
        let inner = self.0.inner();
        let unknown = || Error::NotFound {
            reason: "unknown_node".to_owned(),
            message: format!("no replica that is known says that it is node {node}"),
        };
        let position = inner.fleet.locate(node).await.ok_or_else(unknown)?;
        let replica = inner.fleet.at(position).ok_or_else(unknown)?;
        let request = v1::DrainRequest { node_id: node.get(), drain };
        let answer = request.send(&replica, inner.settings.timeout).await;
        Ok(answer.map_err(|failure| failure.into_error(1))?.drained)
    }

    /// Freezes a ledger: from then on it takes no writes ([`Error::Frozen`]), while reads, proofs and subscriptions go on. No
    /// error where it is frozen. Refused unless it was frozen and thawed `expected` times (`None`: however often), and while a
    /// replica answers that does not know frozen ledgers: it would go on writing to one.
    ///
    /// # Errors
    /// [`Error::Rejected`] with the reason `freeze_changed` if somebody else decided otherwise at the same time, with
    /// `older_version` if a replica has to be upgraded first.
    pub async fn freeze(&self, ledger: &str, reason: &str, expected: Option<u64>) -> Result<Frozen, Error> {
        self.all_know_freezes().await?;
        let (ledger, reason) = (ledger.to_owned(), reason.to_owned());
        self.ask(v1::FreezeRequest { ledger, reason, expected_revision: expected }).await
    }

    /// Whether every replica that answers knows what a freeze is. Whoever is silent has to be upgraded before it comes back.
    async fn all_know_freezes(&self) -> Result<(), Error> {
        for (endpoint, status) in self.0.status().await {
            if let Ok(status) = status
                && status.system_documents < KNOWS_FREEZES
            {
                let message = format!(
                    "node {} at {endpoint} runs a version ({}) that does not know frozen ledgers, and would go on writing to \
                     one: upgrade every node first",
                    status.node_id, status.version
                );
                let (reason, field) = ("older_version".to_owned(), String::new());
                let rejection = Rejection { reason, message, field, precondition: None };
                return Err(Error::Rejected(Box::new(rejection)));
            }
        }
        Ok(())
    }

    /// Has a frozen ledger take writes again. As [`Admin::freeze`].
    ///
    /// # Errors
    /// As [`Admin::freeze`].
    pub async fn thaw(&self, ledger: &str, reason: &str, expected: Option<u64>) -> Result<Frozen, Error> {
        let (ledger, reason) = (ledger.to_owned(), reason.to_owned());
        self.ask(v1::ThawRequest { ledger, reason, expected_revision: expected }).await
    }

    async fn ask<R: Rpc>(&self, request: R) -> Result<R::Response, Error> {
        let inner = self.0.inner();
        let deadline = Deadline::after(inner.settings.timeout);
        let plan = Plan { route: Route::Leader, deadline, patience: Duration::ZERO };
        Ok(inner.fleet.call(&request, plan).await?.response)
    }
}
