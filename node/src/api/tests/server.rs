//! The server itself, over a real socket: the service, its streams, gRPC health, reflection, and its end.

use std::{future::Future, net::SocketAddr};

use quorate_proto::v1::{self, ledger_client::LedgerClient};
use tokio::sync::oneshot;
use tonic::{Code, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use super::world::{World, put};
use crate::{
    config::Limits,
    tls::{self, Security, listen},
};

/// Serves a world; gives its address, and what stops it and waits for its end.
async fn serving(world: &World) -> (SocketAddr, impl Future<Output = ()>) {
    let listener =
        listen("client", "127.0.0.1:0", Security::Plaintext, tls::Limits::default()).await.unwrap();
    let address = listener.local_addr();
    let (stop, stopped) = oneshot::channel::<()>();
    let api = world.api.clone();
    let served = tokio::spawn(async move {
        api.serve(listener.incoming(), async move { drop(stopped.await) }).await.unwrap();
    });
    let end = async move {
        stop.send(()).unwrap();
        served.await.unwrap();
    };
    (address, end)
}

async fn channel(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

#[tokio::test]
async fn clients_are_served_over_the_network() {
    let world = World::new().await;
    let (address, end) = serving(&world).await;
    let mut client = LedgerClient::new(channel(address).await);
    let answer = client.commit(world.request(vec![put("a", "1")])).await.unwrap().into_inner();
    assert_eq!(answer.transaction.unwrap().index, 1);
    let request = v1::ListTransactionsRequest { ledger: "default".to_owned(), ..Default::default() };
    let mut entries = client.list_transactions(request).await.unwrap().into_inner();
    assert_eq!(entries.message().await.unwrap().unwrap().entries.len(), 3);
    assert!(entries.message().await.unwrap().is_none());
    drop((entries, client));
    end.await;
    assert!(Channel::from_shared(format!("http://{address}")).unwrap().connect().await.is_err());
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused() {
    let world = World::with(Limits { message_bytes: 64 << 10, ..Limits::default() }).await;
    let (address, end) = serving(&world).await;
    let mut client = LedgerClient::new(channel(address).await);
    let size = world.size();
    let refusal = client.commit(world.request(vec![put("a", &"x".repeat(100 << 10))])).await.unwrap_err();
    assert_eq!(refusal.code(), Code::OutOfRange, "{refusal:?}");
    assert_eq!(world.size(), size);
    drop(client);
    end.await;
}

#[tokio::test]
async fn health_follows_the_node_and_reflection_names_the_service() {
    let world = World::new().await;
    let (address, end) = serving(&world).await;
    let channel = channel(address).await;
    let mut health = HealthClient::new(channel.clone());
    let request = HealthCheckRequest { service: "quorate.v1.Ledger".to_owned() };
    let mut statuses = health.watch(request).await.unwrap().into_inner();
    while statuses.message().await.unwrap().unwrap().status != 1 {}
    world.health.fail("for a test");
    while statuses.message().await.unwrap().unwrap().status != 2 {}
    let mut reflection = ServerReflectionClient::new(channel);
    let asked = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = reflection.server_reflection_info(futures::stream::iter([asked])).await.unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
    assert!(list.service.iter().any(|service| service.name == "quorate.v1.Ledger"), "{list:?}");
    drop((statuses, health, reflection));
    end.await;
}
