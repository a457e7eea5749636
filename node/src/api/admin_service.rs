//! The service `quorate.v1.Admin`: who belongs to the cluster, and which ledgers take writes. Only for operators ([`access`](super::access)).

use std::time::Duration;

use bytes::Bytes;
use quorate_core::{
    name::LedgerName,
    position::{Epoch, NodeId},
};
use quorate_ledger::{registry::SECRET_LEN, system::FreezeState};
use quorate_proto::v1::{self, admin_server::Admin};
use tonic::{Request, Response, Status};

use super::{
    errors::{Problem, Reason},
    interface::Api,
    ledgers,
};
use crate::{
    consensus::{Progress, Role},
    membership::{Freezing, Frozen, Office},
};

type Answer<T> = Result<Response<T>, Status>;

impl Api {
    fn office(&self) -> Result<&Office, Problem> {
        let office = self.parts().office.as_ref();
        office.ok_or_else(|| Reason::NodeStopped.refuse("this node does not take part in changes").into())
    }

    fn members_now(&self) -> Result<v1::ListMembersResponse, Problem> {
        let office = self.office()?;
        let consensus = self.backend().consensus();
        let me = self.parts().me.get();
        if consensus.role != Role::Leader
            && let Some(leader) = consensus.leader
        {
            let error = crate::sequencer::SubmitError::NotLeader { leader: Some(NodeId::new(leader)) };
            return Err(error.into());
        }
        let registry = office.registry();
        let progress = office.parts().consensus.replication();
        let last = consensus.last_log_index.unwrap_or(0);
        let behind = |progress: &Progress| last.saturating_sub(progress.reached());
        let silence = |progress: &Progress| {
            progress.silence.map(|silence| u64::try_from(silence.as_millis()).unwrap_or(u64::MAX))
        };
        let member = |(id, node): (&NodeId, &quorate_ledger::registry::NodeRecord)| {
            let progress = progress.get(&id.get()).filter(|_| id.get() != me);
            v1::MemberInfo {
                node_id: id.get(),
                state: node.standing().name().to_owned(),
                voter: consensus.membership.is_voter(id.get()),
                client_address: node.client_address.clone(),
                peer_address: node.peer_address.clone(),
                cosigner_vkey: node.vkey.clone(),
                removed_in_epoch: node.removed_in_epoch,
                behind: progress.map(behind),
                silent_ms: progress.and_then(silence),
            }
        };
        let now = self.parts().clock.now().get();
        let open = registry.invitations().values().filter(|invitation| {
            invitation.expires_at > now && registry.node(NodeId::new(invitation.node_id)).is_none()
        });
        Ok(v1::ListMembersResponse {
            epoch: registry.epoch().get(),
            node_id: me,
            leader: consensus.leader.unwrap_or(0),
            change: office.doing(),
            members: registry.nodes().iter().map(member).collect(),
            invitations: open
                .map(|one| v1::InvitationInfo { node_id: one.node_id, expires_at: one.expires_at })
                .collect(),
        })
    }

    async fn invite_node(&self, request: v1::InviteRequest) -> Result<v1::InviteResponse, Problem> {
        let office = self.office()?;
        let secret = <[u8; SECRET_LEN]>::try_from(&*request.secret).map_err(|_| {
            let got = request.secret.len();
            Reason::SecretLength.of("secret", format_args!("{got} bytes, not {SECRET_LEN}"))
        })?;
        let invited = office.invite(&secret, Duration::from_millis(request.valid_ms)).await?;
        let cluster = &office.parts().cluster;
        let file = office.cluster_file().map_err(|problem| Reason::OutcomeUnknown.refuse(problem))?;
        let present = office.registry();
        let peers = present.nodes().values().filter(|node| node.cosigns());
        Ok(v1::InviteResponse {
            node_id: invited.node.get(),
            expires_at: invited.expires_at.get(),
            cluster_file: file,
            peers: peers
                .map(|node| v1::PeerAddress { node_id: node.node_id, address: node.peer_address.clone() })
                .collect(),
            cluster_id: Bytes::copy_from_slice(cluster.id.as_bytes()),
        })
    }

    async fn set_frozen(
        &self,
        state: FreezeState,
        (ledger, reason): (&str, &str),
        expected: Option<u64>,
    ) -> Result<v1::FreezeResponse, Problem> {
        let ledger = LedgerName::new(ledger).map_err(|error| Reason::LedgerInvalid.of("ledger", error))?;
        let asked = Freezing { ledger: &ledger, state, reason, expected };
        let Frozen { freeze, size } = self.office()?.freeze(asked).await?;
        Ok(v1::FreezeResponse { freeze: freeze.map(ledgers::freeze), size: size.get() })
    }

    async fn drain_node(&self, request: v1::DrainRequest) -> Result<v1::DrainResponse, Problem> {
        let (asked, me) = (node("node_id", request.node_id)?, self.parts().me);
        if asked != me {
            let problem = format!("this is node {me}, and node {asked} was meant: ask it at its own address");
            return Err(Reason::OtherNode.refuse(problem).into());
        }
        let office = self.office()?;
        office.drain(request.drain).await?;
        Ok(v1::DrainResponse { drained: office.is_drained() })
    }
}

/// A node id of a request.
fn node(field: &str, id: u64) -> Result<NodeId, Problem> {
    match id {
        0 => Err(Reason::NodeIdZero.of(field, "node ids start at 1").into()),
        id => Ok(NodeId::new(id)),
    }
}

fn changed(epoch: Epoch) -> v1::ChangeResponse {
    v1::ChangeResponse { epoch: epoch.get() }
}

#[tonic::async_trait]
impl Admin for Api {
    async fn list_members(
        &self,
        request: Request<v1::ListMembersRequest>,
    ) -> Answer<v1::ListMembersResponse> {
        let work = |api: Api, v1::ListMembersRequest {}, _| async move { api.members_now() };
        self.call("ListMembers", request, work).await
    }

    async fn invite(&self, request: Request<v1::InviteRequest>) -> Answer<v1::InviteResponse> {
        self.call("Invite", request, |api, asked, _| async move { api.invite_node(asked).await }).await
    }

    async fn promote(&self, request: Request<v1::PromoteRequest>) -> Answer<v1::ChangeResponse> {
        let work = |api: Api, asked: v1::PromoteRequest, _| async move {
            let id = node("node_id", asked.node_id)?;
            Ok(changed(api.office()?.promote(id, asked.expected_epoch).await?))
        };
        self.call("Promote", request, work).await
    }

    async fn remove(&self, request: Request<v1::RemoveRequest>) -> Answer<v1::ChangeResponse> {
        let work = |api: Api, asked: v1::RemoveRequest, _| async move {
            let id = node("node_id", asked.node_id)?;
            Ok(changed(api.office()?.remove(id, asked.expected_epoch).await?))
        };
        self.call("Remove", request, work).await
    }

    async fn replace(&self, request: Request<v1::ReplaceRequest>) -> Answer<v1::ChangeResponse> {
        let work = |api: Api, asked: v1::ReplaceRequest, _| async move {
            let old = node("old_node_id", asked.old_node_id)?;
            let new = node("new_node_id", asked.new_node_id)?;
            Ok(changed(api.office()?.replace(old, new, asked.expected_epoch).await?))
        };
        self.call("Replace", request, work).await
    }

    async fn transfer_leadership(
        &self,
        request: Request<v1::TransferLeadershipRequest>,
    ) -> Answer<v1::TransferLeadershipResponse> {
        let work = |api: Api, asked: v1::TransferLeadershipRequest, _| async move {
            let to = (asked.node_id != 0).then_some(NodeId::new(asked.node_id));
            let leader = api.office()?.hand_over(to).await?;
            Ok(v1::TransferLeadershipResponse { leader: leader.get() })
        };
        self.call("TransferLeadership", request, work).await
    }

    async fn freeze(&self, request: Request<v1::FreezeRequest>) -> Answer<v1::FreezeResponse> {
        let work = |api: Api, asked: v1::FreezeRequest, _| async move {
            let about = (asked.ledger.as_str(), asked.reason.as_str());
            api.set_frozen(FreezeState::Frozen, about, asked.expected_revision).await
        };
        self.call("Freeze", request, work).await
    }

    async fn thaw(&self, request: Request<v1::ThawRequest>) -> Answer<v1::FreezeResponse> {
        let work = |api: Api, asked: v1::ThawRequest, _| async move {
            let about = (asked.ledger.as_str(), asked.reason.as_str());
            api.set_frozen(FreezeState::Thawed, about, asked.expected_revision).await
        };
        self.call("Thaw", request, work).await
    }

    async fn drain(&self, request: Request<v1::DrainRequest>) -> Answer<v1::DrainResponse> {
        self.call("Drain", request, |api, asked, _| async move { api.drain_node(asked).await }).await
    }
}
