//! Cosignatures: delivery, questions, and what is refused.

use tonic::Code;

use super::{super::service::MAX_BATCH, *};
use crate::signer::Outbox;

#[tokio::test]
async fn cosignatures_arrive_in_order_from_who_sent_them() {
    let cluster = Cluster::new();
    let one = Answering::start(cluster.security(node(1))).await;
    let two = cluster.dialler(2, &one.address);
    for size in 1..=100 {
        two.send(vec![cosignature(size)]);
    }
    one.recorder.until(|seen| seen.cosignatures.len() == 100).await;
    one.recorder.saw(|seen| {
        assert!(seen.cosignatures.iter().all(|(from, _)| *from == id(2)));
        assert!(seen.cosignatures.iter().map(|(_, c)| c.size).eq(1..=100));
    });
}

#[tokio::test]
async fn that_somebody_waits_is_not_lost_among_cosignatures() {
    let cluster = Cluster::new();
    let one = Answering::start(cluster.security(node(1))).await;
    let two = cluster.dialler(2, &one.address);
    for size in 1..=30 {
        two.send(vec![cosignature(2 * size - 1)]);
        two.hurry();
        two.send(vec![cosignature(2 * size)]);
    }
    one.recorder.until(|seen| seen.cosignatures.len() == 60 && seen.hurried == 30).await;
    one.recorder.saw(|seen| assert!(seen.cosignatures.iter().map(|(_, c)| c.size).eq(1..=60)));
}

#[tokio::test]
async fn sending_never_waits_for_a_peer_that_is_away_and_goes_on_when_it_is_back() {
    let cluster = Cluster::new();
    let one = Answering::start(cluster.security(node(1))).await;
    let two = cluster.dialler(2, &one.address);
    two.send(vec![cosignature(1)]);
    one.recorder.until(|seen| seen.cosignatures.len() == 1).await;
    let address = one.stop().await;
    for size in 0..10_000 {
        two.send(vec![cosignature(size)]);
    }
    let again = Answering::at(&address, cluster.security(node(1))).await;
    let sending = async {
        while again.recorder.saw(|seen| seen.cosignatures.iter().all(|(_, c)| c.size != 77_777)) {
            two.send(vec![cosignature(77_777)]);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, sending).await.unwrap();
}

#[tokio::test]
async fn a_question_is_answered_within_the_limit() {
    let cluster = Cluster::new();
    let one = Answering::start(cluster.security(node(1))).await;
    let two = cluster.dialler(2, &one.address);
    let ledger = LedgerName::new("default").unwrap();
    let answer = two.ask(id(1), ledger.clone(), TreeSize::new(9), true).await.unwrap();
    assert_eq!(answer, [cosignature(9)]);
    assert_eq!(one.recorder.saw(|seen| seen.asked.clone()), [("default".to_owned(), 9, 1024, true)]);
    assert!(two.ask(id(3), ledger, TreeSize::new(9), false).await.unwrap_err().contains("not known"));
}

fn question(envelope: Option<pb::Envelope>) -> pb::GetCosignaturesRequest {
    pb::GetCosignaturesRequest { envelope, ledger: "default".to_owned(), ..Default::default() }
}

#[tokio::test]
async fn a_message_of_another_cluster_sender_or_receiver_is_refused() {
    let cluster = Cluster::new();
    let one = Answering::start(cluster.security(node(1))).await;
    let two = cluster.dialler(2, &one.address);
    let elsewhere = PeerIdentity { cluster: ClusterId::new([8; 16]), node: id(2) };
    let planted = [
        (None, "no envelope"),
        (Some(envelope(elsewhere, id(1))), "of cluster 0808"),
        (Some(envelope(node(3), id(1))), "from node 3"),
        (Some(envelope(node(2), id(3))), "for node 3"),
        (Some(pb::Envelope { cluster_id: vec![7; 15].into(), from: 2, to: 1 }), "of cluster"),
    ];
    for (envelope, reason) in planted {
        let mut client = two.reach(id(1)).unwrap();
        let refused = client.get_cosignatures(question(envelope.clone())).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{reason}");
        assert!(refused.message().contains(reason), "{refused}");

        let batch = pb::CosignBatch { envelope, cosignatures: vec![cosignature(1)] };
        let call = client.cosign(futures::stream::iter([batch]).chain(futures::stream::pending())).await;
        let refused = call.unwrap().into_inner().message().await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{reason}");
    }
    assert!(one.recorder.saw(|seen| seen.cosignatures.is_empty() && seen.asked.is_empty()));
    let mut client = two.reach(id(1)).unwrap();
    client.get_cosignatures(question(Some(envelope(node(2), id(1))))).await.unwrap();
}

#[tokio::test]
async fn an_overlong_batch_and_a_ledger_that_is_none_are_refused() {
    let cluster = Cluster::new();
    let one = Answering::start(cluster.security(node(1))).await;
    let two = cluster.dialler(2, &one.address);
    let mut client = two.reach(id(1)).unwrap();
    let own = Some(envelope(node(2), id(1)));
    let batch = pb::CosignBatch { envelope: own.clone(), cosignatures: vec![cosignature(1); MAX_BATCH + 1] };
    let call = client.cosign(futures::stream::iter([batch])).await.unwrap();
    let refused = call.into_inner().message().await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("4097") && refused.message().contains("4096"), "{refused}");

    let request = pb::GetCosignaturesRequest { ledger: "No Ledger".to_owned(), ..question(own) };
    let refused = client.get_cosignatures(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().starts_with("ledger: "), "{refused}");
}
