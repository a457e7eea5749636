//! The golden vectors as values.

use serde_json::Value;

/// The three worked ledgers.
pub(crate) fn all() -> [Value; 3] {
    [
        include_str!("../vectors/ledger-1.json"),
        include_str!("../vectors/ledger-2.json"),
        include_str!("../vectors/ledger-3.json"),
    ]
    .map(|text| serde_json::from_str(text).unwrap())
}

/// A block as it comes to a ledger.
#[derive(Clone)]
pub(crate) struct Block {
    pub(crate) time: u64,
    pub(crate) epoch: u64,
    pub(crate) cosign_time: u64,
    pub(crate) txs: Vec<Tx>,
}

/// A request in a block.
#[derive(Clone)]
pub(crate) struct Tx {
    pub(crate) author: String,
    pub(crate) idempotency_key: Vec<u8>,
    pub(crate) not_after: u64,
    pub(crate) meta: Vec<u8>,
    pub(crate) meta_salt: [u8; 16],
    pub(crate) ops: Vec<Op>,
}

/// What a request asks for one key.
#[derive(Clone)]
pub(crate) struct Op {
    pub(crate) kind: String,
    pub(crate) key: Vec<u8>,
    /// Of an erase: which.
    pub(crate) revision: u64,
    pub(crate) expires_at: u64,
    pub(crate) salt: [u8; 16],
    pub(crate) attributes: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

pub(crate) fn blocks(vector: &Value) -> Vec<Block> {
    let block = |block: &Value| Block {
        time: block["time"].as_u64().unwrap(),
        epoch: block["epoch"].as_u64().unwrap(),
        cosign_time: block["cosign_time"].as_u64().unwrap(),
        txs: block["txs"].as_array().unwrap().iter().map(tx).collect(),
    };
    vector["blocks"].as_array().unwrap().iter().map(block).collect()
}

fn tx(tx: &Value) -> Tx {
    Tx {
        author: text(&tx["author"]).to_owned(),
        idempotency_key: bytes(&tx["idempotency_key"]),
        not_after: tx["not_after"].as_u64().unwrap(),
        meta: bytes(&tx["meta"]),
        meta_salt: bytes(&tx["meta_salt"]).try_into().unwrap(),
        ops: tx["ops"].as_array().unwrap().iter().map(op).collect(),
    }
}

fn op(op: &Value) -> Op {
    let is_put = op["kind"] == "put";
    let put_bytes = |name: &str| if is_put { bytes(&op[name]) } else { Vec::new() };
    Op {
        kind: text(&op["kind"]).to_owned(),
        key: bytes(&op["key"]),
        revision: op["revision"].as_u64().unwrap_or_default(),
        expires_at: op["expires_at"].as_u64().unwrap_or_default(),
        salt: if is_put { bytes(&op["salt"]).try_into().unwrap() } else { [0; 16] },
        attributes: put_bytes("attributes"),
        value: put_bytes("value"),
    }
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(text(value)).unwrap()
}

pub(crate) fn seed(value: &Value) -> [u8; 32] {
    bytes(value).try_into().unwrap()
}
