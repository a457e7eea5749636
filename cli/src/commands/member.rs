//! `quorate member`: the nodes of the cluster, for operators.
//!
//! A change is agreed on by one call; then the cluster carries it out, and these commands watch it. A command that was
//! interrupted, or ran out of time, is repeated: it goes on watching.

use std::fs;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use quorate_client::{Admin, Error, MemberInfo, Members, Micros, NodeId};
use quorate_node::membership::invitation::{Invitation, Terms};
use quorate_node::tls::Authority;

use crate::clock::{self, Stopwatch};
use crate::duration;
use crate::error::CliError;
use crate::exit::Exit;
use crate::global::Global;
use crate::output::{Table, json_members as json, time};
use crate::progress;
use crate::run::init::NodeSpec;
use crate::session::Session;

/// Between two looks at a change that is under way.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A node that has at most so many entries yet to apply has caught up; fewer than the leader allows, so that it takes the node a
/// moment later, too.
const CLOSE: u64 = 50;

/// Show, add, replace and remove the nodes of the cluster
#[derive(Debug, clap::Args)]
#[command(after_help = "\
For operators: --cert and --cert-key name the certificate of one (`quorate init` and `quorate dev`
put it into the folder operator). A change that was interrupted goes on by itself; the same
command watches it.

  quorate member list
  quorate member invite --authority cluster/authority --host ledger-4.example --out invitation
  quorate join --invite invitation --dir node-4           # on ledger-4; then start it
  quorate member add 4 --promote
  quorate member replace 3 --by 4
  quorate member remove 3")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show who the nodes are, how far each is, and what is being done about them
    List,
    /// Make an invitation: a file that lets one new node in, once
    Invite(Invite),
    /// Wait until an invited node has registered and caught up
    Add {
        /// Its id
        #[arg(value_name = "NODE")]
        node: u64,
        /// Then make it a member
        #[arg(long)]
        promote: bool,
        #[command(flatten)]
        change: Change,
    },
    /// Make a node that has caught up a member: it cosigns and votes
    Promote {
        /// Its id
        #[arg(value_name = "NODE")]
        node: u64,
        #[command(flatten)]
        change: Change,
    },
    /// Remove a node, for ever
    Remove {
        /// Its id
        #[arg(value_name = "NODE")]
        node: u64,
        #[command(flatten)]
        change: Change,
    },
    /// Replace a node, dead or alive, by one that has caught up
    Replace {
        /// The member that goes
        #[arg(value_name = "NODE")]
        node: u64,
        /// The joining node that comes
        #[arg(long, value_name = "NODE")]
        by: u64,
        #[command(flatten)]
        change: Change,
    },
    /// Hand leadership over
    Transfer {
        /// To which voter [default: the one that is furthest]
        #[arg(value_name = "NODE")]
        node: Option<u64>,
    },
    /// Take a node out of service: it hands leadership over, and is not ready for clients any more
    Drain {
        /// Its id
        #[arg(value_name = "NODE")]
        node: u64,
        /// Let it serve again (starting it again does that too)
        #[arg(long)]
        undo: bool,
    },
}

/// How a change is made.
#[derive(Debug, clap::Args)]
struct Change {
    /// Refuse unless this epoch is in force (`member list` shows it): nobody else changed anything since
    #[arg(long, value_name = "EPOCH", default_value = "0", hide_default_value = true)]
    expect_epoch: u64,
    /// How long to watch; the change goes on without
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration::parse_nonzero)]
    wait: Duration,
}

#[derive(Debug, clap::Args)]
struct Invite {
    /// Folder with the authority's certificate and key, made by `quorate init`. Its key leaves this machine never; not
    /// needed in a cluster without TLS
    #[arg(long, value_name = "DIR")]
    authority: Option<PathBuf>,
    /// Host name or address under which all others will reach the node; then its ports for clients, nodes and HTTP
    /// [default: 7400:7401:7402]
    #[arg(long, value_name = "HOST[:CLIENT[:PEER[:HTTP]]]", value_parser = parse_host)]
    host: NodeSpec,
    /// Address it listens on [default: all of the machine, or HOST if it is a loopback address]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<IpAddr>,
    /// How long the invitation is valid, at most 7 days
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration::parse_nonzero)]
    valid: Duration,
    /// Write it to this file (0600) instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

fn parse_host(text: &str) -> Result<NodeSpec, String> {
    // The cluster says which id.
    NodeSpec::parse(&format!("1={text}"))
}

/// What a change is to lead to.
#[derive(Debug, Clone, Copy)]
enum Goal {
    CaughtUp(u64),
    Member(u64),
    Removed(u64),
    Replaced { old: u64, new: u64 },
}

/// Carries a command out.
pub(crate) async fn run(global: &Global, session: &Session, args: &Args) -> Result<Exit, CliError> {
    let admin = session.client.admin();
    let office = Office { session, admin };
    match &args.command {
        Command::List => {
            let members = office.admin.members().await?;
            office.show(&members)
        }
        Command::Invite(invite) => office.invite(global, invite).await,
        Command::Add { node, promote, change } => {
            office.watch(Goal::CaughtUp(*node), change.wait).await?;
            if !promote {
                let members = office.admin.members().await?;
                session
                    .output
                    .hint(&format!("it has caught up; `quorate member promote {node}` makes it a member"));
                return office.show(&members);
            }
            office.admin.promote(NodeId::new(*node), change.expect_epoch).await?;
            office.finish(Goal::Member(*node), change.wait).await
        }
        Command::Promote { node, change } => {
            office.admin.promote(NodeId::new(*node), change.expect_epoch).await?;
            office.finish(Goal::Member(*node), change.wait).await
        }
        Command::Remove { node, change } => {
            office.admin.remove(NodeId::new(*node), change.expect_epoch).await?;
            office.finish(Goal::Removed(*node), change.wait).await
        }
        Command::Replace { node, by, change } => {
            office.admin.replace(NodeId::new(*node), NodeId::new(*by), change.expect_epoch).await?;
            office.finish(Goal::Replaced { old: *node, new: *by }, change.wait).await
        }
        Command::Transfer { node } => {
            let leader = office.admin.transfer_leadership(node.map(NodeId::new)).await?;
            session.output.hint(&format!("node {leader} leads"));
            let members = office.admin.members().await?;
            office.show(&members)
        }
        Command::Drain { node, undo } => {
            let drained = office.admin.drain(NodeId::new(*node), !undo).await?;
            let document = json::Drained { node: node.to_string(), drained };
            session.output.result("drained", &document, |document| {
                let word = if document.drained {
                    "drained: stop it when its clients are gone"
                } else {
                    "in service"
                };
                format!("node {} is {word}\n", document.node)
            })?;
            Ok(Exit::Done)
        }
    }
}

struct Office<'s> {
    session: &'s Session,
    admin: Admin,
}

impl Office<'_> {
    async fn invite(&self, global: &Global, invite: &Invite) -> Result<Exit, CliError> {
        let plaintext = global.settings()?.plaintext;
        let authority = match (&invite.authority, plaintext) {
            (Some(folder), _) => Some(Authority::load(folder).map_err(|error| {
                CliError::usage(error.to_string(), "--authority names the folder that `quorate init` made")
            })?),
            (None, true) => None,
            (None, false) => {
                return Err(CliError::usage(
                    "--authority is missing: a node of a cluster with TLS needs certificates",
                    "name the folder authority that `quorate init` made; it is kept off the nodes",
                ));
            }
        };
        if let Some(path) = invite.out.as_ref().filter(|path| path.exists()) {
            return Err(CliError::usage(format!("{} exists", path.display()), "choose another --out"));
        }
        let mut secret = zeroize::Zeroizing::new([0; 32]);
        getrandom::fill(secret.as_mut()).map_err(|error| {
            CliError::other(format!("no random bytes from the operating system: {error}"))
        })?;
        let invited = self.admin.invite(*secret, invite.valid).await?;
        let node =
            quorate_node::provision::NodePlan { id: invited.node_id, ..invite.host.plan(invite.listen) };
        let terms = Terms {
            node,
            cluster_file: invited.cluster_file.clone(),
            peers: invited.peers.iter().map(|peer| (peer.node_id, peer.address.clone())).collect(),
            expires_at: Micros::new(invited.expires_at),
        };
        let made = Invitation::new(terms, &secret, authority.as_ref(), clock::now());
        let made = made.map_err(|error| CliError::other(error.to_string()))?;
        let text = |result: Result<zeroize::Zeroizing<String>, _>| {
            result.map_err(|error: quorate_node::membership::invitation::InvitationError| {
                CliError::other(error.to_string())
            })
        };
        let mut inline = None;
        match &invite.out {
            Some(path) => write_secret(path, text(made.to_text())?.as_bytes())?,
            None => inline = Some(text(made.to_base64())?.as_str().to_owned()),
        }
        let document = json::NewInvitation {
            node: invited.node_id.to_string(),
            expires_at: time::rfc3339(Micros::new(invited.expires_at)),
            file: invite.out.as_ref().map(|path| path.display().to_string()),
            invitation: inline,
        };
        self.session.output.result("invitation", &document, |document| {
            format!(
                "{}\n",
                document.file.as_ref().or(document.invitation.as_ref()).cloned().unwrap_or_default()
            )
        })?;
        self.session.output.hint(&format!(
            "this lets one machine in as node {}, until {}: keep it like a key; there, \
             `quorate join --invite FILE --dir node-{}`",
            document.node, document.expires_at, document.node
        ));
        Ok(Exit::Done)
    }

    /// Waits for the goal and shows the nodes.
    async fn finish(&self, goal: Goal, wait: Duration) -> Result<Exit, CliError> {
        let members = self.watch(goal, wait).await?;
        self.show(&members)
    }

    /// Waits for the goal. Who cannot be asked for a moment is asked again.
    async fn watch(&self, goal: Goal, wait: Duration) -> Result<Members, CliError> {
        let spinner = progress::spinner(self.session.output);
        let since = Stopwatch::start();
        let mut told = String::new();
        loop {
            let state = match self.admin.members().await {
                Ok(members) => match goal.of(&members)? {
                    None => {
                        spinner.finish_and_clear();
                        return Ok(members);
                    }
                    Some(state) => state,
                },
                Err(Error::Unavailable { last, .. }) => format!("no answer: {last}"),
                Err(error) => return Err(error.into()),
            };
            spinner.set_message(state.clone());
            if spinner.is_hidden() && state != told {
                self.session.output.hint(&state);
            }
            told = state;
            if since.elapsed() > wait {
                spinner.finish_and_clear();
                return Err(CliError::Partly {
                    done: "what was agreed on goes on by itself".to_owned(),
                    source: Box::new(CliError::other(format!(
                        "not done after {}: {told}",
                        time::seconds(wait)
                    ))),
                    next: "`quorate member list` shows how far it is; the same command watches it".to_owned(),
                });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn show(&self, members: &Members) -> Result<Exit, CliError> {
        let document = document(members);
        self.session.output.result("members", &document, table)?;
        Ok(Exit::Done)
    }
}

impl Goal {
    /// What is still missing; `None` when it is reached.
    fn of(self, members: &Members) -> Result<Option<String>, CliError> {
        if members.leader != members.node_id {
            // What a node says that does not lead may be old.
            return Ok(Some("no leader answers".to_owned()));
        }
        let rest = || (!members.change.is_empty()).then(|| members.change.clone());
        let find = |id: u64| members.members.iter().find(|member| member.node_id == id);
        Ok(match self {
            Self::CaughtUp(id) => caught_up(id, find(id), members)?,
            Self::Member(id) => became(id, find(id)).or_else(rest),
            Self::Removed(id) => went(id, find(id)).or_else(rest),
            Self::Replaced { old, new } => {
                became(new, find(new)).or_else(|| went(old, find(old))).or_else(rest)
            }
        })
    }
}

fn caught_up(id: u64, member: Option<&MemberInfo>, members: &Members) -> Result<Option<String>, CliError> {
    let Some(member) = member else {
        if members.invitations.iter().any(|invitation| invitation.node_id == id) {
            return Ok(Some(format!(
                "node {id} has not registered yet: `quorate join` on its machine does that"
            )));
        }
        return Err(CliError::NotFound {
            message: format!("node {id} is no node of this cluster, and no open invitation is for it"),
            next: "`quorate member invite` makes one; `quorate member list` shows both".to_owned(),
        });
    };
    match member.state.as_str() {
        "member" => return Ok(None),
        "joining" => {}
        state => {
            return Err(CliError::usage(
                format!("node {id} is {state}"),
                "a removed node never comes back; `quorate member invite` lets its machine join as a new one",
            ));
        }
    }
    Ok(match (member.behind, member.silent_ms) {
        (_, None) => Some(format!("node {id} is registered and has not answered yet: is it started?")),
        (Some(behind), Some(silent)) if behind <= CLOSE && silent < 3_000 => None,
        (behind, Some(silent)) if silent < 3_000 => {
            Some(format!("node {id} has yet to apply {} entries", behind.unwrap_or_default()))
        }
        (_, Some(silent)) => Some(format!("node {id} has not answered for {} s", silent / 1_000)),
    })
}

fn became(id: u64, member: Option<&MemberInfo>) -> Option<String> {
    let done = member.is_some_and(|member| member.state == "member" && member.voter);
    (!done).then(|| format!("node {id} does not vote yet"))
}

fn went(id: u64, member: Option<&MemberInfo>) -> Option<String> {
    let done = member.is_some_and(|member| member.state == "removed" && !member.voter);
    (!done).then(|| format!("node {id} is leaving"))
}

fn document(members: &Members) -> json::Members {
    let leader = Some(members.leader).filter(|leader| *leader != 0);
    let member = |member: &MemberInfo| json::Member {
        node: member.node_id.to_string(),
        state: member.state.clone(),
        voter: member.voter,
        leader: leader == Some(member.node_id),
        client_address: member.client_address.clone(),
        peer_address: member.peer_address.clone(),
        cosigner_vkey: member.cosigner_vkey.clone(),
        behind: member.behind.map(|behind| behind.to_string()),
        silent_ms: member.silent_ms.map(|silent| silent.to_string()),
        removed_in_epoch: (member.state == "removed").then(|| member.removed_in_epoch.to_string()),
    };
    let invitation = |one: &quorate_client::InvitationInfo| json::Invitation {
        node: one.node_id.to_string(),
        expires_at: time::rfc3339(Micros::new(one.expires_at)),
    };
    json::Members {
        epoch: members.epoch.to_string(),
        leader: leader.map(|leader| leader.to_string()),
        change: members.change.clone(),
        members: members.members.iter().map(member).collect(),
        invitations: members.invitations.iter().map(invitation).collect(),
    }
}

fn table(document: &json::Members) -> String {
    let mut table =
        Table::new(["NODE", "STATE", "VOTES", "BEHIND", "SILENT", "CLIENT ADDRESS", "PEER ADDRESS"]);
    for member in &document.members {
        let or_dash = |cell: Option<String>| cell.unwrap_or_else(|| "-".to_owned());
        let state = match (&member.removed_in_epoch, member.leader) {
            (Some(epoch), _) => format!("removed in epoch {epoch}"),
            (None, true) => "leader".to_owned(),
            (None, false) => member.state.clone(),
        };
        table.row([
            member.node.clone(),
            state,
            if member.voter { "yes" } else { "no" }.to_owned(),
            or_dash(member.behind.clone()),
            or_dash(member.silent_ms.as_ref().map(|silent| format!("{silent} ms"))),
            member.client_address.clone(),
            member.peer_address.clone(),
        ]);
    }
    let mut text = format!("epoch {}\n{table}", document.epoch);
    for invitation in &document.invitations {
        text.push_str(&format!("invited: node {}, until {}\n", invitation.node, invitation.expires_at));
    }
    if !document.change.is_empty() {
        text.push_str(&format!("under way: {}\n", crate::output::text::line(&document.change)));
    }
    text
}

/// Writes a secret to a new file that only its owner can read.
fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.map_err(CliError::io("create", path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(CliError::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, state: &str, voter: bool) -> MemberInfo {
        MemberInfo { node_id: id, state: state.into(), voter, ..MemberInfo::default() }
    }

    fn with(member: MemberInfo) -> Members {
        Members { members: vec![member], ..Members::default() }
    }

    #[test]
    fn a_change_is_done_when_the_records_and_the_votes_say_so() {
        let goal = Goal::Member(4);
        assert!(goal.of(&with(member(4, "member", false))).unwrap().is_some());
        assert!(goal.of(&with(member(4, "member", true))).unwrap().is_none());
        let busy = Members { change: "something".into(), ..with(member(4, "member", true)) };
        assert_eq!(goal.of(&busy).unwrap().unwrap(), "something");
        assert!(Goal::Removed(4).of(&with(member(4, "leaving", false))).unwrap().is_some());
        assert!(Goal::Removed(4).of(&with(member(4, "removed", false))).unwrap().is_none());
        let replaced = Goal::Replaced { old: 3, new: 4 };
        let mut both = with(member(4, "member", true));
        both.members.push(member(3, "leaving", true));
        assert_eq!(replaced.of(&both).unwrap().unwrap(), "node 3 is leaving");
    }

    #[test]
    fn who_waits_for_a_node_hears_what_it_lacks() {
        let goal = Goal::CaughtUp(4);
        let said = |member: MemberInfo| goal.of(&with(member)).unwrap().unwrap_or_default();
        assert!(said(member(4, "joining", false)).contains("is it started?"));
        let near = MemberInfo { silent_ms: Some(20), ..member(4, "joining", false) };
        assert!(said(MemberInfo { behind: Some(5_000), ..near.clone() }).contains("5000 entries"));
        assert_eq!(said(MemberInfo { behind: Some(7), ..near.clone() }), "");
        let away = MemberInfo { silent_ms: Some(9_000), behind: Some(7), ..near };
        assert!(said(away).contains("9 s"));
        let elected = Members { leader: 0, node_id: 3, ..with(member(4, "member", true)) };
        assert_eq!(goal.of(&elected).unwrap().unwrap(), "no leader answers");
        assert!(goal.of(&Members::default()).unwrap_err().to_string().contains("no open invitation"));
        assert!(goal.of(&with(member(4, "removed", false))).is_err());
        let invitations = vec![quorate_client::InvitationInfo { node_id: 4, expires_at: 1 }];
        let invited = Members { invitations, ..Members::default() };
        assert!(goal.of(&invited).unwrap().unwrap().contains("quorate join"));
    }
}
