//! Get and GetMany: what keys hold, or the proof that they hold nothing.

use std::sync::Arc;

use prost::Message;
use quorate_core::{position::Micros, state_tree::Query};
use quorate_proto::v1;

use super::{
    bounds::{self, Options},
    checkpoint::Wanted,
    errors::{Problem, Reason},
    interface::{Api, Deadline, blocking},
    item::Reader,
    proofs::{Prover, time_of},
};
use crate::store::state::LedgerView;

impl Api {
    /// The value of one key.
    pub(super) async fn answer_get(
        &self,
        request: v1::GetRequest,
        deadline: Deadline,
    ) -> Result<v1::GetResponse, Problem> {
        let (name, options) = bounds::get(&request)?;
        let ledger = self.open(&name, &options, &deadline).await?;
        let mut reader = self.reader(&ledger, &options)?;
        let answer = reader.read(&request.key)?;
        let state_proof = if options.prove && !answer.is_superseded {
            reader.state_proof(&Query::Key(request.key.to_vec()))?
        } else {
            Vec::new()
        };
        Ok(v1::GetResponse {
            checkpoint: self.checkpoint_of(&ledger, &options, &deadline).await?,
            state_proof: state_proof.into(),
            item: answer.item.map(Into::into),
            size: ledger.size().get(),
        })
    }

    /// The values of several keys, all under one checkpoint. Every answer has its state proof, as of a log index too:
    /// a client that verifies them together needs one for each.
    pub(super) async fn answer_get_many(
        &self,
        request: v1::GetManyRequest,
        deadline: Deadline,
    ) -> Result<v1::GetManyResponse, Problem> {
        let (name, options) = bounds::get_many(&request)?;
        let ledger = self.open(&name, &options, &deadline).await?;
        let reader = self.reader(&ledger, &options)?;
        let most = self.parts().limits.message_bytes;
        let answers = blocking(move || answers(reader, request, options.prove, most)).await?;
        Ok(v1::GetManyResponse {
            checkpoint: self.checkpoint_of(&ledger, &options, &deadline).await?,
            answers,
            size: ledger.size().get(),
        })
    }

    /// What reads keys of a view with these options.
    pub(super) fn reader(&self, ledger: &Arc<LedgerView>, options: &Options) -> Result<Reader, Problem> {
        Ok(Reader {
            prover: Prover::new(Arc::clone(ledger), options.prove.then(|| ledger.size())),
            at: options.at,
            expired_by: self.expired_by(ledger, options)?,
            contents: true,
        })
    }

    /// By when a value has to have expired to be left out.
    pub(super) fn expired_by(&self, ledger: &LedgerView, options: &Options) -> Result<Micros, Problem> {
        match options.at {
            Some(at) => time_of(ledger, at),
            None if options.prove => Ok(ledger.head().time),
            None => Ok(ledger.head().time.max(self.parts().clock.now())),
        }
    }

    /// The checkpoint of a view's head, if the answer carries proofs.
    pub(super) async fn checkpoint_of(
        &self,
        ledger: &LedgerView,
        options: &Options,
        deadline: &Deadline,
    ) -> Result<Option<v1::CheckpointProof>, Problem> {
        if !options.prove {
            return Ok(None);
        }
        let wanted = Wanted { trusted: options.trusted, need: options.need };
        let checkpoint = self.checkpoint_proof(ledger, ledger.size(), wanted, deadline).await?;
        Ok(Some(checkpoint.into()))
    }
}

fn answers(
    mut reader: Reader,
    request: v1::GetManyRequest,
    prove: bool,
    most: usize,
) -> Result<Vec<v1::KeyAnswer>, Problem> {
    let mut bytes = 0_usize;
    let mut answers = Vec::with_capacity(request.keys.len());
    for key in request.keys {
        let item = reader.read(&key)?.item.map(Into::into);
        let state_proof = if prove { reader.state_proof(&Query::Key(key.to_vec()))? } else { Vec::new() };
        let answer = v1::KeyAnswer { state_proof: state_proof.into(), item };
        bytes = bytes.saturating_add(answer.encoded_len());
        if bytes > most {
            let problem = format!("the answer is larger than {most} bytes: ask for fewer keys at once");
            return Err(Reason::AnswerTooLarge.of("keys", problem).into());
        }
        answers.push(answer);
    }
    Ok(answers)
}
