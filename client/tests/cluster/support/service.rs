//! The calls of a replica.

use std::sync::Arc;

use futures::stream::BoxStream;
use quorate_core::answer::{Contents, KeyRange};
use quorate_proto::convert;
use quorate_proto::v1::{self, ledger_server};
use tonic::{Code, Request, Response, Status, Streaming};

use super::answers::read_token;
use super::model::{Ask, LedgerModel};
use super::server::Node;

fn asks(writes: Vec<v1::Write>) -> Vec<Ask> {
    let ask = |write: v1::Write| match write.write.unwrap() {
        v1::write::Write::Put(put) => Ask::Put {
            key: put.key.into(),
            contents: Contents {
                salt: put.salt.as_ref().try_into().unwrap(),
                attributes: put.attributes.into(),
                value: put.value.into(),
            },
            expires_at: Some(put.expires_at).filter(|time| *time != 0),
        },
        v1::write::Write::Delete(delete) => Ask::Delete { key: delete.key.into() },
    };
    writes.into_iter().map(ask).collect()
}

/// The number of the first precondition that does not hold, with the key's state. Revisions only.
fn failed(ledger: &LedgerModel, preconditions: &[v1::Precondition]) -> Option<Status> {
    use v1::precondition::Condition;
    let (number, precondition) = preconditions.iter().enumerate().find(|(_, precondition)| {
        let revision =
            ledger.records(&precondition.key).last().map_or(0, |last| last.operation.revision.get());
        match precondition.condition {
            Some(Condition::RevisionEquals(wanted)) => wanted != revision,
            Some(Condition::MustNotExist(_)) => revision != 0,
            _ => false,
        }
    })?;
    let newest = ledger.records(&precondition.key).last();
    let detail = v1::ErrorDetail {
        reason: "precondition_failed".to_owned(),
        field: format!("preconditions[{number}]"),
        precondition: Some(u32::try_from(number).unwrap()),
        revision: newest.map_or(0, |newest| newest.operation.revision.get()),
        index: newest.map(|newest| newest.index),
        exists: newest.is_some(),
        no_effect: true,
        leader: 0,
    };
    Some(convert::status(Code::FailedPrecondition, "the precondition does not hold", &detail))
}

#[tonic::async_trait]
impl ledger_server::Ledger for Node {
    async fn commit(
        &self,
        request: Request<v1::CommitRequest>,
    ) -> Result<Response<v1::CommitResponse>, Status> {
        self.admit(true)?;
        let request = request.into_inner();
        let mut response = self.ledger(&request.ledger, |ledger| {
            if let Some(failed) = failed(ledger, &request.preconditions) {
                return Err(failed);
            }
            let (index, known) =
                ledger.commit(&request.idempotency_key, request.not_after, &asks(request.writes));
            let mut transaction = v1::Transaction::from(ledger.transaction(index, ledger.size(), None));
            transaction.operations.iter_mut().for_each(|operation| operation.content = None);
            let certified = request.wait != i32::from(v1::Wait::Committed);
            let checkpoint = certified.then(|| self.checkpoint(ledger, ledger.size(), request.trusted_size));
            Ok(v1::CommitResponse { transaction: Some(transaction), checkpoint, known })
        })??;
        if let Some(alter) = self.alterations().commit {
            alter(&mut response);
        }
        self.answer(response).await
    }

    type CommitStreamStream = BoxStream<'static, Result<v1::CommitStreamResponse, Status>>;

    async fn commit_stream(
        &self,
        request: Request<Streaming<v1::CommitStreamRequest>>,
    ) -> Result<Response<Self::CommitStreamStream>, Status> {
        if self.state().has_no_streams {
            return Err(Status::unimplemented("an older replica"));
        }
        Ok(Response::new(super::streamed::answers(self.clone(), request.into_inner())))
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::GetResponse>, Status> {
        self.admit(false)?;
        let request = request.into_inner();
        let (mut response, checkpoint) =
            self.read(&request.ledger, request.options.as_ref(), |ledger, at| v1::GetResponse {
                checkpoint: None,
                state_proof: ledger.prove(&quorate_client::Query::Key(request.key.to_vec())).into(),
                item: ledger.item(&request.key, at),
                size: ledger.size(),
            })?;
        response.checkpoint = checkpoint;
        if let Some(alter) = self.alterations().get {
            alter(&mut response);
        }
        self.answer(response).await
    }

    async fn get_many(
        &self,
        request: Request<v1::GetManyRequest>,
    ) -> Result<Response<v1::GetManyResponse>, Status> {
        self.admit(false)?;
        let request = request.into_inner();
        let (mut response, checkpoint) =
            self.read(&request.ledger, request.options.as_ref(), |ledger, at| {
                let answer = |key: &bytes::Bytes| v1::KeyAnswer {
                    state_proof: ledger.prove(&quorate_client::Query::Key(key.to_vec())).into(),
                    item: ledger.item(key, at),
                };
                let answers = request.keys.iter().map(answer).collect();
                v1::GetManyResponse { checkpoint: None, answers, size: ledger.size() }
            })?;
        response.checkpoint = checkpoint;
        self.answer(response).await
    }

    async fn scan(&self, request: Request<v1::ScanRequest>) -> Result<Response<v1::ScanResponse>, Status> {
        self.admit(false)?;
        let request = request.into_inner();
        let limit = if request.limit == 0 { 100 } else { request.limit as usize };
        let (mut response, checkpoint) =
            self.read(&request.ledger, request.options.as_ref(), |ledger, at| {
                if !request.page_token.is_empty() {
                    let (rest, at) = read_token(&request.page_token);
                    return ledger.scan(&rest, request.reverse, limit, Some(at));
                }
                let range = match request.keys.clone() {
                    Some(v1::scan_request::Keys::Prefix(prefix)) => KeyRange::prefix(&prefix),
                    Some(v1::scan_request::Keys::Range(range)) => range.try_into().unwrap(),
                    None => KeyRange::all(),
                };
                ledger.scan(&range, request.reverse, limit, at)
            })?;
        response.checkpoint = checkpoint;
        if let Some(alter) = self.alterations().scan {
            alter(&mut response);
        }
        self.answer(response).await
    }

    async fn history(
        &self,
        request: Request<v1::HistoryRequest>,
    ) -> Result<Response<v1::HistoryResponse>, Status> {
        self.admit(false)?;
        let request = request.into_inner();
        let limit = if request.limit == 0 { 100 } else { request.limit as usize };
        let (mut response, checkpoint) =
            self.read(&request.ledger, request.options.as_ref(), |ledger, _| {
                ledger.history(&request, limit)
            })?;
        response.checkpoint = checkpoint;
        if let Some(alter) = self.alterations().history {
            alter(&mut response);
        }
        self.answer(response).await
    }

    async fn get_transaction(
        &self,
        request: Request<v1::GetTransactionRequest>,
    ) -> Result<Response<v1::GetTransactionResponse>, Status> {
        use v1::get_transaction_request::Which;
        self.admit(false)?;
        let request = request.into_inner();
        let (transaction, checkpoint) =
            self.read(&request.ledger, request.options.as_ref(), |ledger, _| {
                let index = match request.which.unwrap() {
                    Which::Index(index) => index,
                    Which::Request(name) => {
                        let id = quorate_core::entry::request_id("anonymous", &name.idempotency_key).unwrap();
                        ledger.requests.get(&id).copied().unwrap_or(u64::MAX)
                    }
                };
                let known = ledger.transactions.contains_key(&index);
                known.then(|| ledger.transaction(index, ledger.size(), None))
            })?;
        let transaction = transaction.ok_or_else(|| Status::not_found("no such transaction"))?;
        let mut response = v1::GetTransactionResponse { checkpoint, transaction: Some(transaction.into()) };
        if let Some(alter) = self.alterations().transaction {
            alter(&mut response);
        }
        self.answer(response).await
    }

    type ListTransactionsStream = BoxStream<'static, Result<v1::ListTransactionsResponse, Status>>;

    async fn list_transactions(
        &self,
        request: Request<v1::ListTransactionsRequest>,
    ) -> Result<Response<Self::ListTransactionsStream>, Status> {
        self.admit(false)?;
        let request = request.into_inner();
        let entries: Vec<v1::LogEntry> = self.ledger(&request.ledger, |ledger| {
            (request.from..request.to).map(|index| ledger.entry(index, request.contents)).collect()
        })?;
        let messages: Vec<_> = entries
            .chunks(3)
            .map(|chunk| {
                let mut message = v1::ListTransactionsResponse { entries: chunk.to_vec() };
                if let Some(alter) = self.alterations().entries {
                    alter(&mut message);
                }
                Ok(message)
            })
            .collect();
        let stream: Self::ListTransactionsStream = Box::pin(tokio_stream::iter(messages));
        Ok(Response::new(stream))
    }

    type SubscribeStream = BoxStream<'static, Result<v1::SubscribeResponse, Status>>;

    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        self.admit(false)?;
        let request = request.into_inner();
        if self.ledger(&request.ledger, |ledger| request.from > ledger.size())? {
            return Err(Status::out_of_range("beyond the end"));
        }
        Ok(Response::new(super::feed::feed(self.clone(), request)))
    }

    async fn inclusion_proof(
        &self,
        request: Request<v1::InclusionProofRequest>,
    ) -> Result<Response<v1::InclusionProofResponse>, Status> {
        self.admit(false)?;
        let request = request.into_inner();
        let proof = self.ledger(&request.ledger, |ledger| ledger.leaf_at(request.index, request.size))?;
        self.answer(proof).await
    }

    async fn consistency_proof(
        &self,
        request: Request<v1::ConsistencyProofRequest>,
    ) -> Result<Response<v1::ConsistencyProofResponse>, Status> {
        self.admit(false)?;
        let request = request.into_inner();
        let mut response = self.ledger(&request.ledger, |ledger| {
            if request.new_size > ledger.size() {
                return Err(Status::out_of_range("beyond the end"));
            }
            Ok(v1::ConsistencyProofResponse {
                old_size: request.old_size,
                new_size: request.new_size,
                path: convert::path_to_wire(&ledger.consistency(request.old_size, request.new_size)),
            })
        })??;
        if let Some(alter) = self.alterations().consistency {
            alter(&mut response);
        }
        self.answer(response).await
    }

    async fn get_checkpoint(
        &self,
        request: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::GetCheckpointResponse>, Status> {
        self.admit(false)?;
        let request = request.into_inner();
        let checkpoint = self.ledger(&request.ledger, |ledger| {
            let size = if request.size == 0 { ledger.size() } else { request.size };
            if size > ledger.size() || ledger.transactions.contains_key(&(size - 1)) {
                return Err(Status::not_found("no checkpoint at this size"));
            }
            Ok(self.checkpoint(ledger, size, request.trusted_size))
        })??;
        let mut response = v1::GetCheckpointResponse { checkpoint: Some(checkpoint) };
        if let Some(alter) = self.alterations().checkpoint {
            alter(&mut response);
        }
        self.answer(response).await
    }

    async fn create_ledger(
        &self,
        request: Request<v1::CreateLedgerRequest>,
    ) -> Result<Response<v1::CreateLedgerResponse>, Status> {
        self.admit(true)?;
        let name = request.into_inner().ledger;
        let model = Arc::clone(&self.state().model);
        model.lock().unwrap().create(&name);
        let info = v1::LedgerInfo { name, ..v1::LedgerInfo::default() };
        self.answer(v1::CreateLedgerResponse { ledger: Some(info), transaction: None }).await
    }

    async fn list_ledgers(
        &self,
        _: Request<v1::ListLedgersRequest>,
    ) -> Result<Response<v1::ListLedgersResponse>, Status> {
        self.admit(false)?;
        let model = Arc::clone(&self.state().model);
        let ledgers = model
            .lock()
            .unwrap()
            .ledgers
            .values()
            .map(|ledger| v1::LedgerInfo {
                name: ledger.name.clone(),
                size: ledger.size(),
                ..v1::LedgerInfo::default()
            })
            .collect();
        self.answer(v1::ListLedgersResponse { ledgers }).await
    }

    async fn list_epochs(
        &self,
        request: Request<v1::ListEpochsRequest>,
    ) -> Result<Response<v1::ListEpochsResponse>, Status> {
        let from = request.into_inner().from_epoch;
        // Two at a time.
        let epochs =
            self.state().epochs.iter().filter(|proof| proof.epoch >= from).take(2).cloned().collect();
        self.answer(v1::ListEpochsResponse { epochs }).await
    }

    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusResponse>, Status> {
        self.admit(false)?;
        let members = self
            .peers
            .lock()
            .unwrap()
            .iter()
            .map(|(node_id, address)| v1::Member {
                node_id: *node_id,
                client_address: address.to_string(),
                ..v1::Member::default()
            })
            .collect();
        let status = v1::StatusResponse { node_id: self.id, members, ..v1::StatusResponse::default() };
        self.answer(status).await
    }
}
